"""Matrix products and spectral norms: the one home of every product in a hot loop."""

from collections.abc import Callable

import torch
from torch import Tensor


def affine(offset: Tensor, points: Tensor, matrix: Tensor) -> Tensor:
    """Return ``offset + points @ matrix``, fused into one product where torch has one.

    Parameters
    ----------
    offset : Tensor broadcastable to (..., n, m)
    points : Tensor of shape (..., n, k)
    matrix : Tensor of shape (..., k, m)
    """
    if points.dim() == 2 and matrix.dim() == 2:
        return torch.addmm(offset, points, matrix)
    if points.dim() == 3 and matrix.dim() == 3:
        return torch.baddbmm(offset, points, matrix)
    return points @ matrix + offset


def gram(rows: Tensor) -> Tensor:
    """Return ``rows @ rows^T``, shape (..., k, k)."""
    return rows @ rows.mT


def spectral_norm_squared(rows: Tensor) -> Tensor:
    """Return the squared largest singular value of `rows`, exactly, shape (...).

    It is the top eigenvalue of the smaller of the two Gram matrices.
    """
    smaller = gram(rows) if rows.shape[-2] <= rows.shape[-1] else gram(rows.mT)
    return torch.linalg.eigvalsh(smaller)[..., -1].clamp_min(0)


def schatten_bound(matrix: Tensor, n_squarings: int = 4) -> Tensor:
    """Return an upper bound of the largest eigenvalue of a symmetric positive semi-definite matrix, shape (...).

    The Schatten norm ``trace(A^p)^(1/p)`` with ``p = 2^(n_squarings + 1)`` never lies below the eigenvalue and
    exceeds it by a factor of at most ``k^(1/p)`` (k = 128, p = 32: 16 %), by far less when the top eigenvalue
    stands out. Unlike an eigenvalue routine it is a few matrix products, and unlike power iteration it errs on
    the safe side of a step size.
    """
    scale = matrix.diagonal(dim1=-2, dim2=-1).sum(-1)  # trace: at least the eigenvalue, and its own scale
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    power = matrix / scale[..., None, None]
    log_norm = torch.zeros_like(scale)
    exponent = 1
    for _ in range(n_squarings):
        power = power @ power
        exponent *= 2
        # Rescale at every squaring, or high powers of a flat spectrum underflow.
        size = power.diagonal(dim1=-2, dim2=-1).sum(-1).clamp_min(torch.finfo(power.dtype).tiny)
        power = power / size[..., None, None]
        log_norm = log_norm + size.log() / exponent
    # trace(A^(2p)) is the squared Frobenius norm of A^p: one more doubling for free.
    frobenius = power.square().sum((-2, -1))
    return scale * torch.exp(log_norm + frobenius.log() / (2 * exponent))


def power_iteration(operator: Callable[[Tensor], Tensor], start: Tensor, n_iter: int = 20) -> tuple[Tensor, Tensor]:
    """Estimate the largest eigenvalue of a symmetric positive semi-definite operator, given as a function.

    Runs ``v <- A v / |A v|`` and returns ``|A v|`` of the last unit vector: a *lower* bound of the eigenvalue
    whose relative error falls like ``(lambda_2 / lambda_1)^(2 n_iter)``.

    Parameters
    ----------
    operator : callable
        Maps a vector of shape (..., k) to one of the same shape.
    start : Tensor of shape (..., k)
        First vector, not zero; passing the last result again tracks a slowly changing operator.
    n_iter : int
        More iterations give a tighter estimate.

    Returns
    -------
    eigenvalue : Tensor of shape (...)
    vector : Tensor of shape (..., k)
        The last iterate, of unit norm; `start` where the operator is zero.
    """
    vector = start / torch.linalg.vector_norm(start, dim=-1, keepdim=True)
    norm = torch.zeros_like(start[..., :1])
    for _ in range(n_iter):
        image = operator(vector)
        norm = torch.linalg.vector_norm(image, dim=-1, keepdim=True)
        vector = torch.where(norm > 0, image / norm.clamp_min(torch.finfo(image.dtype).tiny), vector)
    return norm.squeeze(-1), vector
