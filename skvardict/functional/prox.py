"""Proximal operators."""

import torch
from torch import Tensor

from skvardict.functional.weights import Weight


def soft_threshold(point: Tensor, threshold: Weight, *, positive: bool = False) -> Tensor:
    """Return the proximal operator of ``threshold |x|_1``: ``sign(x) max(|x| - threshold, 0)``.

    Parameters
    ----------
    point : Tensor of any shape
    threshold : float or Tensor broadcastable to `point`, non-negative
        Larger thresholds give more exact zeros.
    positive : bool
        Restrict to ``x >= 0``, where the operator is ``max(x - threshold, 0)``.
    """
    if positive:
        return torch.clamp_min(point - threshold, 0)
    return point - torch.clamp(point, min=-threshold, max=threshold)  # type: ignore[arg-type]
