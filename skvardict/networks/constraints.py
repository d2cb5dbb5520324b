"""Constraints on atoms, applied after every optimiser step."""

from collections.abc import Iterable

import torch
from torch import Tensor

from skvardict.functional import Weight


@torch.no_grad()
def normalize_atoms_(matrices: Iterable[Tensor], norm: Weight) -> None:
    """Scale every row of every matrix to Euclidean norm `norm`, in place; a zero row stays zero."""
    for matrix in matrices:
        length = torch.linalg.vector_norm(matrix, dim=-1, keepdim=True)
        matrix.mul_(torch.where(length > 0, norm / length, torch.ones_like(length)))
