"""What all laws share: their parameters, and what shape and type these have."""

from dataclasses import dataclass, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Law:
    """Independent variables with parameters that are tensors, numbers or laws themselves.

    Numbers are for laws that are written down, such as priors; :meth:`like` makes tensors of them.
    """

    @property
    def shape(self) -> torch.Size:
        """Shape of the variables, that of all parameters together; numbers have the shape ()."""
        parameters = [getattr(self, field.name) for field in fields(self)]
        shapes = [p.shape if isinstance(p, Tensor | Law) else () for p in parameters]
        return torch.Size(np.broadcast_shapes(*shapes))  # torch's function imports the symbols of its compiler

    def member(self, index: int) -> Self:
        """Return the law of one of several models, whose parameters have them along a first axis, or are shared."""

        def take(parameter):
            if isinstance(parameter, Law):
                return parameter.member(index)
            return parameter[index] if isinstance(parameter, Tensor) and parameter.dim() else parameter

        return type(self)(*(take(getattr(self, field.name)) for field in fields(self)))

    def picked(self, mask: Tensor) -> Self:
        """Return the law of the variables where `mask` is true; its shape is theirs, or larger by leading axes."""

        def pick(parameter):
            return parameter.picked(mask) if isinstance(parameter, Law) else parameter.expand(mask.shape)[mask]

        return type(self)(*(pick(getattr(self, field.name)) for field in fields(self)))

    def like(self, tensor: Tensor) -> Self:
        """Return the law with its numbers as tensors of the dtype and device of `tensor`."""

        def convert(parameter):
            if isinstance(parameter, Tensor):
                return parameter
            return parameter.like(tensor) if isinstance(parameter, Law) else tensor.new_full((), parameter)

        return type(self)(*(convert(getattr(self, field.name)) for field in fields(self)))
