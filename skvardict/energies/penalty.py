"""What a penalty is: the term of the energy that a solver meets through its proximal operator."""

from abc import ABC, abstractmethod
from copy import copy
from typing import Self

import torch
from torch import Tensor

from skvardict.functional import Weight, per_row


class Penalty(ABC):
    """A convex function of each code on its own, ``alpha * measure(z)``; infinite off its domain.

    A new penalty is one file with a subclass, and one line in the list `PENALTIES`, over which its tests run. It gives
    :meth:`measure`, :meth:`prox` and :meth:`dual_norm`, and `curvature` where it has a quadratic part:
    ``value(z) = gauge(z) + curvature / 2 |z|^2``, where the gauge grows in proportion, ``gauge(2 z) = 2 gauge(z)``.

    Attributes
    ----------
    alpha : float, or Tensor of shape (..., 1, 1)
        Weight; larger gives sparser codes.
    name : str
        Of the entry of :meth:`measure` in dictionaries of energies.
    positive : bool
        Whether codes are non-negative.
    slope : float
        The penalty is ``slope * sum(z)`` plus a rest, which has the operator :meth:`prox_of_rest_`. Solvers that take
        the same step again and again add the slope to their constants once. By default zero: the rest is everything.
    """

    alpha: Weight
    name: str
    positive: bool
    slope: Weight = 0.0

    @property
    def curvature(self) -> Weight:
        """Weight c of the quadratic part ``c / 2 |z|^2``."""
        return 0.0

    @property
    def l1(self) -> "Penalty | None":
        """The L1 penalty that is left without the quadratic part; None where something else is left."""
        return None

    @abstractmethod
    def measure(self, codes: Tensor) -> Tensor:
        """Return the penalty of each code without its weight, shape (..., n)."""

    @abstractmethod
    def prox(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Return the code that minimises ``step * value(z) + 1/2 |z - point|^2``, row by row."""

    @abstractmethod
    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Return the largest ``-gradient @ z`` over codes with ``gauge(z) = alpha``, per row, shape (..., n).

        Zero codes are optimal where it is at most `alpha`; the duality gap scales its dual point to meet that.
        """

    def value(self, codes: Tensor) -> Tensor:
        """Return the penalty of each code, shape (..., n)."""
        return per_row(self.alpha) * self.measure(codes)

    def with_alpha(self, alpha: Weight) -> Self:
        """Return the same penalty with another weight."""
        changed = copy(self)
        object.__setattr__(changed, "alpha", alpha)  # penalties may be frozen
        return changed

    def total(self, codes: Tensor) -> Tensor:
        """Return the sum of :meth:`measure` over the codes of a batch, shape (...)."""
        return self.measure(codes).sum(-1)

    @property
    def rest(self) -> "Penalty":
        """The penalty as far as :meth:`prox_of_rest_` reads it."""
        return self

    def prox_of_rest_(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Return ``prox(point + step * slope, step)``; it may overwrite `point`."""
        return self.prox(point, step)

    def dual_limit(self, gradient: Tensor) -> Tensor:
        """Return the largest factor at which `gradient` is still one of zero codes, per row, shape (..., n)."""
        return per_row(self.alpha) / self.dual_norm(gradient).clamp_min(torch.finfo(gradient.dtype).tiny)
