"""New atoms from sufficient statistics of codes and rows.

Notation: ``A = sum z z^T`` (..., l, l) and ``B = sum z x^T`` (..., l, d) over rows, atoms ``W`` (..., l, d). Up to a
constant the squared error of the rows is ``tr(W^T A W) - 2 tr(W^T B)``.
"""

import torch
from torch import Tensor

from skvardict.functional.weights import Weight

_BLOCK = 16  # atoms that move together; larger blocks take shorter steps


def quadratic_error(components: Tensor, gram: Tensor, cross: Tensor) -> Tensor:
    """Return ``tr(W^T A W) - 2 tr(W^T B)``: the squared error of the rows, but for the sum of their squares."""
    return (gram * (components @ components.mT)).sum((-2, -1)) - 2 * (components * cross).sum((-2, -1))


def unit_norm_sweep_(components: Tensor, gram: Tensor, cross: Tensor, norm: Weight) -> None:
    """Lower the squared error over atoms of Euclidean norm `norm`, in place: one pass over blocks of atoms.

    On a block b the quadratic form is majorised by the row sums of ``|A_bb|``, so that its atoms move together,
    ``w_j <- w_j + (B_j - A_j W) / sum_k |A_jk|`` scaled to the norm, and the error never rises. An atom without codes
    stays. A block of one atom is Mairal et al. (2010), algorithm 2.

    Parameters
    ----------
    components : Tensor of shape (..., l, d)
    gram, cross : Tensors of shapes (..., l, l) and (..., l, d)
    norm : float, or Tensor of shape (..., 1, 1)
    """
    for start in range(0, components.shape[-2], _BLOCK):
        block = slice(start, start + _BLOCK)
        atoms = components[..., block, :]
        curvature = gram[..., block, block].abs().sum(-1, keepdim=True)
        residual = cross[..., block, :] - gram[..., block, :] @ components
        moved = atoms + torch.where(curvature > 0, residual / curvature, 0.0)
        length = torch.linalg.vector_norm(moved, dim=-1, keepdim=True)
        atoms.copy_(torch.where(length > 0, moved * (norm / length), atoms))


def ridge_atoms(gram: Tensor, cross: Tensor, weight: Tensor | float, previous: Tensor | None = None) -> Tensor:
    """Return the minimum of the squared error plus ``weight |W|^2``, or ``weight |W - previous|^2`` where given.

    Parameters
    ----------
    gram, cross : Tensors of shapes (..., l, l) and (..., l, d)
    weight : float, or Tensor of shape () or (..., 1, 1)
        Positive.
    previous : Tensor of shape (..., l, d), optional
    """
    system = gram + weight * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    right = cross if previous is None else cross + weight * previous
    return torch.cholesky_solve(right, torch.linalg.cholesky(system))
