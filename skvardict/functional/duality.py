"""The duality gap of penalised least squares."""

import torch
from torch import Tensor


def gap_along_residual(residual_sq: Tensor, along: Tensor, gauge: Tensor, limit: Tensor) -> tuple[Tensor, Tensor]:
    """Return the duality gap at the best dual point along the residual, and the objective ``1/2 |r|^2 + gauge``.

    With ``r`` the residual of ``x``, ``s r`` is dual feasible for ``0 <= s <= limit``, and its dual value
    ``s <r, x> - s^2 |r|^2 / 2`` is largest where ``s`` is nearest to ``<r, x> / |r|^2``.

    Parameters
    ----------
    residual_sq, along, gauge, limit : Tensor of shape (..., n)
        ``|r|^2``, ``<r, x>``, value of the penalty, and the largest feasible factor.
    """
    scale = along / residual_sq.clamp_min(torch.finfo(residual_sq.dtype).tiny)
    scale = torch.minimum(scale, limit).clamp_min(0)
    primal = residual_sq / 2 + gauge
    return primal - (scale * along - scale.square() * residual_sq / 2), primal
