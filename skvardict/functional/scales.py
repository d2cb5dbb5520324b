"""Norms of rows of any scale.

Squares of numbers below 1e-19 or above 1e19 are beyond single precision (1e-154 and 1e154: double). Where a norm is
that of such numbers, its row is brought to order one first. The factor is a power of two, so that nothing is rounded,
and other rows are computed as ever, bit by bit.
"""

import torch
from torch import Tensor


def unit_power(rows: Tensor) -> Tensor:
    """Return the power of two that brings the largest entry of each row to [1/2, 1), shape (..., n, 1).

    It is one for rows of zeros, and for rows that are not finite.
    """
    largest, limits = rows.abs().amax(-1, keepdim=True), torch.finfo(rows.dtype)
    mantissa, _ = torch.frexp(largest)
    power = (mantissa / largest).clamp(limits.tiny, 1 / limits.tiny)
    return torch.where((largest > 0) & (largest <= limits.max), power, 1.0)


def row_norms(rows: Tensor) -> Tensor:
    """Return ``|x_i|`` of each row, shape (..., n, 1), right at any scale."""
    norms = torch.linalg.vector_norm(rows, dim=-1, keepdim=True)
    odd = _is_odd(norms.square())
    if _is_nowhere(odd):
        return norms
    power = unit_power(rows)
    return torch.where(odd, torch.linalg.vector_norm(rows * power, dim=-1, keepdim=True) / power, norms)


def is_small_change(after: Tensor, before: Tensor, tol: float) -> Tensor:
    """Return where ``|after_i - before_i| <= tol |before_i|``, shape (..., n), right at any scale.

    Without a division, two rows of zeros count as such, and a row that has just left zero does not.
    """
    if before.device.type not in ("cpu", "mps"):  # fewer launches than by squares, and no question to the device
        change = torch.linalg.vector_norm(after - before, dim=-1, dtype=torch.float64)
        return change <= tol * torch.linalg.vector_norm(before, dim=-1, dtype=torch.float64)
    size_sq = before.square().sum(-1)
    met = (after - before).square_().sum(-1) <= tol**2 * size_sq
    odd = _is_odd(size_sq)
    if not bool(odd.any()):
        return met
    after, before = after[odd], before[odd]
    power = unit_power(torch.maximum(after.abs(), before.abs()))
    met[odd] = ((after - before) * power).square_().sum(-1) <= tol**2 * (before * power).square_().sum(-1)
    return met


def scaled_products(first: Tensor, second: Tensor) -> Tensor:
    """Return ``<a_i, b_i>`` of each row, shape (..., n, 1), on the CPU times a power of two where it would be lost."""
    products = (first * second).sum(-1, keepdim=True)
    if products.device.type != "cpu":
        return products
    odd = _is_odd(products.abs()).squeeze(-1)
    if bool(odd.any()):
        second = second[odd]
        products[odd] = (first[odd] * (second * unit_power(second))).sum(-1, keepdim=True)
    return products


def _is_odd(squares: Tensor) -> Tensor:
    """Return where sums of squares have lost digits, or all of them; zero may have been something."""
    limits = torch.finfo(squares.dtype)
    return (squares < limits.tiny / limits.eps**2) | ~(squares <= limits.max)


def _is_nowhere(odd: Tensor) -> bool:
    """Return whether no row is odd; where asking would wait for the device, they are treated as if some were."""
    return odd.device.type == "cpu" and not bool(odd.any())
