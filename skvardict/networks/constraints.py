"""Constraints on atoms, applied after every optimiser step."""

from collections.abc import Iterable

import torch
from torch import Tensor

from skvardict.functional import Weight, project_atoms


@torch.no_grad()
def constrain_atoms_(matrices: Iterable[Tensor], norm: Weight | None, *, positive: bool = False) -> None:
    """Bring every row of every matrix to norm `norm` (None: any), without negative entries if `positive`, in place."""
    for matrix in matrices:
        matrix.copy_(project_atoms(matrix, norm, positive=positive))
