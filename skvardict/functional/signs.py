"""Signed codes as non-negative ones of twice the length, and back."""

import torch
from torch import Tensor


def split_signs(codes: Tensor) -> Tensor:
    """Return the positive and the negative parts side by side, (..., 2 l), both non-negative."""
    return torch.cat([codes.clamp_min(0), (-codes).clamp_min(0)], dim=-1)


def join_signs(codes: Tensor) -> Tensor:
    """Return the first half of the columns less the second: what :func:`split_signs` has split."""
    positive, negative = codes.chunk(2, dim=-1)
    return positive - negative
