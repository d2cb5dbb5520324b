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

from skvardict._utils import ranks
from skvardict.functional.devices import number_like
from skvardict.functional.linalg import affine
from skvardict.functional.weights import Weight

_ROUNDING = 16  # a scatter below this many epsilons of the sum of squares is rounding noise


class Moments(NamedTuple):
    """Count, sum and sum of squares of rows, each measured from a fixed origin."""

    n_rows: int
    total: Tensor  # (..., 1, l)
    total_sq: Tensor  # (..., 1, l)

    def merge(self, other: "Moments") -> "Moments":
        """Return the moments of both groups of rows together."""
        return Moments(self.n_rows + other.n_rows, self.total + other.total, self.total_sq + other.total_sq)

    def of_all_ranks(self) -> "Moments":
        """Return the moments of the whole batch, where several processes have its rows."""
        if ranks.current() is None:
            return self
        return Moments(ranks.n_rows(self.n_rows), *ranks.all_sums(self.total, self.total_sq))


def mean_of_rows(codes: Tensor) -> Tensor:
    """Return the mean over the rows of `codes` (..., n, l), of the whole batch, shape (..., 1, l)."""
    if ranks.current() is None:
        return codes.mean(-2, keepdim=True)
    return ranks.all_sum(codes.sum(-2, keepdim=True)) / ranks.n_rows(codes.shape[-2])


def batch_moments(codes: Tensor, origin: Tensor) -> Moments:
    """Return the moments of `codes` (..., n, l) measured from `origin` (..., 1, l).

    An origin near the mean avoids the cancellation of ``E z^2 - (E z)^2`` in single precision.
    """
    centred = codes - origin
    total = centred.sum(-2, keepdim=True)
    return Moments(codes.shape[-2], total, centred.mul_(centred).sum(-2, keepdim=True))


def merged_moments(codes: Tensor, origin: Tensor, others: Moments, ones: Tensor) -> Moments:
    """Return ``batch_moments(codes, origin).merge(others)``, the sums by products with `ones` (1, n): fewer calls."""
    centred = codes - origin
    total = affine(others.total, ones, centred)
    return Moments(codes.shape[-2] + others.n_rows, total, affine(others.total_sq, ones, centred.mul_(centred)))


def mean_and_std(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return mean and unbiased standard deviation per component over the whole batch, each of shape (..., 1, l).

    Where the standard deviation is at the level of rounding, and for a single row, it is exactly zero.
    """
    if codes.is_cuda and ranks.current() is None:  # whose running means leave constants without rounding
        variance, mean = _var_mean(codes)
        return mean, variance.sqrt_()
    origin = mean_of_rows(codes)
    moments = batch_moments(codes, origin).of_all_ranks()
    return origin + moments.total / moments.n_rows, std_of(moments)


def std_of(moments: Moments) -> Tensor:
    """Return the unbiased standard deviation per component, shape (..., 1, l)."""
    return (_scatter(moments).clamp_min_(0) / max(moments.n_rows - 1, 1)).sqrt_()


def hinge_of_std(std: Tensor, std_threshold: Weight) -> Tensor:
    """Return ``sum_j [(T - s_j)_+]^2`` of standard deviations (..., 1, l), shape (...)."""
    return (std_threshold - std).clamp_min(0).square().sum((-2, -1))


def count_active(codes: Tensor) -> Tensor:
    """Return how many rows of `codes` (n, l) have a non-zero entry, per component, shape (l,), as integers.

    On the CPU signs add up several times faster than torch counts along an axis, and exactly below 2^24 rows.
    """
    if codes.is_cuda:
        return torch.count_nonzero(codes, dim=-2)
    return codes.sign().abs_().sum(-2).long()


def mean_square(rows: Tensor) -> float:
    """Return the mean square of the entries that are not missing (NaN), over the whole batch."""
    if ranks.current() is None:
        return float(rows.square().nanmean())
    square, number = ranks.all_sums(rows.square().nansum(), (~rows.isnan()).sum(dtype=rows.dtype))
    return float(square / number)


def pooled_r2(square_error: float, square_sum: Tensor, row_sum: Tensor, n_rows: float) -> float:
    """Return R^2 over all features together, from sums over rows; rows without variance have none (nan).

    Parameters
    ----------
    square_error : float
        Sum over rows of the mean over features of the squared error.
    square_sum, row_sum : Tensor of shape (d,)
        Sums over rows of the squares and of the entries of each feature.
    n_rows : float
    """
    scatter = float((square_sum - row_sum.square() / n_rows).mean())
    return 1 - square_error / scatter if scatter > 0 else float("nan")


class HingeConstants(NamedTuple):
    """Constants of the hinge's pull, as tensors of shape () or (..., 1, 1)."""

    slope: Tensor
    offset: Tensor


def hinge_constants(count: int, std_threshold: Weight, weight: Weight, like: Tensor) -> HingeConstants:
    """Return the constants with which :func:`hinge_pull` returns ``weight * r_j`` for `count` rows."""
    degrees = max(count - 1, 1)
    values = weight * (2 * std_threshold / sqrt(degrees)), weight * (-2 / degrees)
    return HingeConstants(*(number_like(value, like) for value in values))


def hinge_pull(moments: Moments, origin: Tensor, constants: HingeConstants) -> tuple[Tensor, Tensor]:
    """Return ``weight * r_j`` and ``mean_j`` of the hinge's gradient ``-r_j (z_ij - mean_j)``, shapes (..., 1, l).

    Constant components have no pull: the hinge cannot revive them. A standard deviation at the level of
    rounding counts as constant, so that rounding noise is not amplified.
    """
    # 2 (T - s) / ((n - 1) s) with s = sqrt(scatter / (n - 1)) is affine in scatter^(-1/2), and negative for large ones.
    inverse = torch.threshold_(_scatter(moments), 0.0, torch.inf).rsqrt_()
    pull = torch.addcmul(constants.offset, inverse, constants.slope).clamp_min_(0)
    return pull, torch.add(origin, moments.total, alpha=1 / moments.n_rows)


def hinge_pull_of(codes: Tensor, constants: HingeConstants) -> tuple[Tensor, Tensor]:
    """Return what :func:`hinge_pull` does, of a whole batch (..., n, l), in fewer passes: each is a launch of a GPU.

    The sums run about the mean, so that their rounding is relative to ``mean^2 eps^2``, and no origin is needed.
    """
    degrees, rounding = codes.shape[-2] - 1, _ROUNDING * torch.finfo(codes.dtype).eps
    variance, mean = _var_mean(codes)
    variance.addcmul_(mean, mean, value=-(rounding**2))
    inverse = torch.threshold_(variance, 0.0, torch.inf).rsqrt_()
    pull = torch.addcmul(constants.offset, inverse, constants.slope, value=max(degrees, 1) ** -0.5)
    return pull.clamp_min_(0), mean


def _var_mean(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Return variance (unbiased; zero of a single row) and mean of the rows of `codes` (..., n, l), as (..., 1, l).

    Of a transposed copy: along the last axis a GPU needs a fraction of the time.
    """
    correction = min(codes.shape[-2] - 1, 1)
    variance, mean = torch.var_mean(codes.mT.contiguous(), -1, correction=correction, keepdim=True)
    return variance.mT, mean.mT


def _scatter(moments: Moments) -> Tensor:
    """Return the sum of squares about the mean; zero or less where it is nothing but rounding.

    That is where ``S_2 - S_1^2 / n <= r S_2``, or ``S_2 - S_1^2 / (n (1 - r)) <= 0``. Where it is more, the factor
    changes it by ``r S_1^2 / n``, which an origin near the mean makes as small as its rounding.
    """
    rounding = _ROUNDING * torch.finfo(moments.total.dtype).eps
    value = -1 / (moments.n_rows * (1 - rounding))
    return torch.addcmul(moments.total_sq, moments.total, moments.total, value=value)
