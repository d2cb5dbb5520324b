"""Weights of terms: one number, or one per model where several models are computed at once.

Such a weight has the shape (..., 1, 1), so that it broadcasts against codes (..., n, l). Terms that belong to rows
(..., n) or to batches (...) take it with fewer axes.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from skvardict.functional.devices import numbers_like

Weight = float | Tensor


def is_on(weight: Weight) -> bool:
    """Return whether a term counts; weights of several models are all zero or none, and are not looked at."""
    return isinstance(weight, Tensor) or weight > 0


def per_row(weight: Weight) -> Weight:
    """Return the weight of a term with a value per row, (..., n)."""
    return weight.squeeze(-1) if isinstance(weight, Tensor) else weight


def per_batch(weight: Weight) -> Weight:
    """Return the weight of a term with a value per batch, (...)."""
    return weight.squeeze(-1).squeeze(-1) if isinstance(weight, Tensor) else weight


def stack_weights(values: Sequence[Any], like: Tensor) -> Weight:
    """Return one weight per model as a tensor (m, 1, 1) for computations with `like`; the number where all agree."""
    first = values[0]
    if all(value == first for value in values):
        return first
    return numbers_like(values, like)[:, None, None]


def add_weighted(base: Tensor, weight: Weight, term: Tensor) -> Tensor:
    """Return ``base + weight * term``, (..., n, l), in one pass."""
    if isinstance(weight, Tensor):
        return torch.addcmul(base, weight, term)
    return torch.add(base, term, alpha=weight)
