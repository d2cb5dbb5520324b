"""Batch moments of codes and the pull of the variance hinge.

Notation: codes ``z`` of shape (..., n, l), standard deviations ``s_j`` over the n rows (unbiased, n - 1),
floor ``T``. The hinge ``sum_j [(T - s_j)_+]^2`` has the closed-form gradient

    d/dz_ij = - r_j (z_ij - mean_j),    r_j = 2 (T - s_j) / ((n - 1) s_j)   where 0 < s_j < T, else 0,

so that a batch enters only through the count, the sum and the sum of squares of its rows. Sums of two groups
of rows add: rows that no longer change, or rows that live in another process, are just another summand.

Statistics keep the row axis, shape (..., 1, l), so that they broadcast against codes. These functions run in
every iteration of the inference, on vectors so short that each call costs more than its arithmetic: hence the
fused calls.
"""

from math import sqrt
from typing import NamedTuple

import torch
from torch import Tensor

_ROUNDING = 16  # a scatter below this many epsilons of the sum of squares is rounding noise


class Moments(NamedTuple):
    """Count, sum and sum of squares of rows, each measured from a fixed reference point."""

    n_rows: int
    total: Tensor  # (..., 1, l)
    total_sq: Tensor  # (..., 1, l)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both groups of rows together."""
        return Moments(self.n_rows + other.n_rows, self.total + other.total, self.total_sq + other.total_sq)


def batch_moments(codes: Tensor, reference: Tensor, out: Tensor | None = None) -> Moments:
    """Return the moments of `codes` (..., n, l) measured from `reference` (..., 1, l).

    A reference near the mean avoids the cancellation of ``E z^2 - (E z)^2`` in single precision. `out` is
    scratch space of the shape of `codes`.
    """
    centred = torch.sub(codes, reference, out=out)
    total = centred.sum(-2, keepdim=True)
    return Moments(codes.shape[-2], total, centred.mul_(centred).sum(-2, keepdim=True))


def mean_and_std(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased standard deviation per component, each of shape (..., 1, l).

    Where the standard deviation is at the level of rounding, and for a single row, it is exactly zero.
    """
    reference = codes.mean(-2, keepdim=True)
    moments = batch_moments(codes, reference)
    return reference + moments.total / moments.n_rows, _std(moments)


def hinge_value(moments: Moments, std_threshold: float) -> Tensor:
    """Return ``sum_j [(T - s_j)_+]^2``, shape (...)."""
    return (std_threshold - _std(moments)).clamp_min(0).square().sum((-2, -1))


class HingeScale(NamedTuple):
    """Constants of the hinge's pull, as tensors of shape () or (..., 1, 1)."""

    slope: Tensor
    offset: Tensor
    rounding: Tensor


def hinge_scale(count: int, std_threshold: float, weight: float | Tensor, like: Tensor) -> HingeScale:
    """Return the constants with which :func:`hinge_pull` returns ``weight * r_j`` for `count` rows."""
    weight = torch.as_tensor(weight, dtype=like.dtype, device=like.device)
    degrees = max(count - 1, 1)
    rounding = torch.full((), _ROUNDING * torch.finfo(like.dtype).eps, dtype=like.dtype, device=like.device)
    return HingeScale(weight * (2 * std_threshold / sqrt(degrees)), weight * (-2 / degrees), rounding)


def hinge_pull(moments: Moments, reference: Tensor, scale: HingeScale) -> tuple[Tensor, Tensor]:
    """Return ``weight * r_j`` and ``mean_j`` of the hinge's gradient ``-r_j (z_ij - mean_j)``, shapes (..., 1, l).

    Constant components have no pull: the hinge cannot revive them. A standard deviation at the level of
    rounding counts as constant, so that rounding noise is not amplified.
    """
    scatter, is_constant = _scatter(moments, scale.rounding)
    # 2 (T - s) / ((n - 1) s) with s = sqrt(scatter / (n - 1)) is affine in scatter^(-1/2).
    pull = torch.addcmul(scale.offset, scatter.rsqrt_(), scale.slope)
    pull.clamp_min_(0).masked_fill_(is_constant, 0)
    return pull, torch.add(reference, moments.total, alpha=1 / moments.n_rows)


def _std(moments: Moments) -> Tensor:
    rounding = _ROUNDING * torch.finfo(moments.total.dtype).eps
    scatter, is_constant = _scatter(moments, rounding)
    return (scatter.masked_fill(is_constant, 0) / max(moments.n_rows - 1, 1)).sqrt()


def _scatter(moments: Moments, rounding: float | Tensor) -> tuple[Tensor, Tensor]:
    """Return the sum of squares about the mean, and where it is nothing but rounding."""
    scatter = torch.addcmul(moments.total_sq, moments.total, moments.total, value=-1 / moments.n_rows)
    return scatter, scatter <= moments.total_sq * rounding
