"""New atoms from sufficient statistics of codes and rows.

Notation: ``A = sum z z^T`` (..., l, l) and ``B = sum z x^T`` (..., l, d) over rows, atoms ``W`` (..., l, d). Up to a
constant the squared error of the rows is ``tr(W^T A W) - 2 tr(W^T B)``.
"""

import torch
from torch import Tensor

from skvardict.functional.linalg import cholesky
from skvardict.functional.weights import Weight

_BLOCK = 16  # atoms that move together; larger blocks take shorter steps


def quadratic_error(components: Tensor, gram: Tensor, cross: Tensor) -> Tensor:
    """Return ``tr(W^T A W) - 2 tr(W^T B)``: the squared error of the rows, but for the sum of their squares."""
    return (gram * (components @ components.mT)).sum((-2, -1)) - 2 * (components * cross).sum((-2, -1))


def project_atoms(atoms: Tensor, norm: Weight | None = None, *, positive: bool = False) -> Tensor:
    """Return the nearest atoms of Euclidean norm `norm` (None: any), without negative entries if `positive`.

    An atom whose entries are all negative has nothing left to scale: nearest is the norm at its largest entry. A zero
    atom stays zero.

    Parameters
    ----------
    atoms : Tensor of shape (..., l, d)
    norm : float, Tensor of shape () or (..., 1, 1), or None
    positive : bool
    """
    if positive:
        kept = atoms.clamp_min(0)
        if norm is None:
            return kept
        at_largest = torch.zeros_like(atoms).scatter(-1, atoms.argmax(-1, keepdim=True), 1.0)
        atoms = torch.where(kept.any(-1, keepdim=True) | ~atoms.any(-1, keepdim=True), kept, at_largest)
    if norm is None:
        return atoms
    length = torch.linalg.vector_norm(atoms, dim=-1, keepdim=True)
    return atoms * torch.where(length > 0, norm / length, 1.0)


def atom_sweep_(
    components: Tensor, gram: Tensor, cross: Tensor, norm: Weight | None = None, *, positive: bool = False
) -> None:
    """Lower the squared error over atoms that :func:`project_atoms` allows, in place: one pass over blocks of them.

    On a block b the quadratic form is majorised by the row sums of ``|A_bb|``, so that its atoms move together,
    ``w_j <- w_j + (B_j - A_j W) / sum_k |A_jk|`` brought back to what is allowed, and the error never rises. An atom
    without codes stays. A block of one atom is Mairal et al. (2010), algorithm 2.

    Parameters
    ----------
    components : Tensor of shape (..., l, d)
    gram, cross : Tensors of shapes (..., l, l) and (..., l, d)
    norm : float, Tensor of shape (..., 1, 1), or None
    positive : bool
    """
    for start in range(0, components.shape[-2], _BLOCK):
        block = slice(start, start + _BLOCK)
        atoms = components[..., block, :]
        curvature = gram[..., block, block].abs().sum(-1, keepdim=True)
        step = (cross[..., block, :] - gram[..., block, :] @ components) / curvature
        moved = project_atoms(atoms + torch.where(curvature > 0, step, 0.0), norm, positive=positive)
        stays = curvature == 0 if norm is None else (curvature == 0) | ~moved.any(-1, keepdim=True)
        atoms.copy_(torch.where(stays, atoms, moved))


def ridge_system(
    gram: Tensor, cross: Tensor, weight: Tensor | float, previous: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return A and B of the squared error plus ``weight |W|^2``, or ``weight |W - previous|^2`` where given."""
    system = gram + weight * torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return system, cross if previous is None else cross + weight * previous


def ridge_atoms(gram: Tensor, cross: Tensor, weight: Tensor | float, previous: Tensor | None = None) -> Tensor:
    """Return the minimum of the squared error plus ``weight |W|^2``, or ``weight |W - previous|^2`` where given.

    Parameters
    ----------
    gram, cross : Tensors of shapes (..., l, l) and (..., l, d)
    weight : float, or Tensor of shape () or (..., 1, 1)
        Positive.
    previous : Tensor of shape (..., l, d), optional
    """
    system, right = ridge_system(gram, cross, weight, previous)
    return torch.cholesky_solve(right, cholesky(system))
