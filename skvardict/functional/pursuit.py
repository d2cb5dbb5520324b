"""Orthogonal matching pursuit of many rows at once, until what is left is as small as the noise."""

from itertools import repeat
from typing import NamedTuple, Self

import torch
from torch import Tensor

_ROWS = 4096  # pursued at a time: their residuals and directions stay small


def pursue(
    X: Tensor,
    atoms: Tensor,
    max_error: Tensor | float,
    *,
    max_atoms: int,
    observed: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Return what few atoms make of each row, by orthogonal matching pursuit.

    While the squared norm of its residual is larger than `max_error`, a row takes the atom with the largest correlation
    ``|r w_j| / |w_j|``, and is projected onto the span of the atoms that it has. With `observed`, residuals,
    correlations and norms count the observed entries of the row alone, and the result has all of them.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Entries that are not observed are not read; they have to be finite.
    atoms : Tensor of shape (l, d)
        Of any norm.
    max_error : float or Tensor of shape (n,)
        Squared norm of the residual, over the observed entries, at which a row ends.
    max_atoms : int
        Largest number of atoms of a row.
    observed : Tensor of shape (n, d), optional
        1 or true where an entry counts.

    Returns
    -------
    reconstruction : Tensor of shape (n, d)
    n_atoms : Tensor of shape (n,)
        How many atoms each row has taken.

    Notes
    -----
    New atoms are orthogonalised against those of the row (modified Gram-Schmidt, twice), which gives the projection
    without a linear system, and without codes. Cost per row and atom is one product with all atoms, ``l d``.

    References
    ----------
    Pati, Rezaiifar & Krishnaprasad, Orthogonal matching pursuit, Asilomar 1993. With missing entries: Mairal, Elad &
    Sapiro, Sparse representation for color image restoration, IEEE Transactions on Image Processing 2008, section 3.

    Examples
    --------
    >>> import torch
    >>> from skvardict.functional import pursue
    >>> X = torch.tensor([[3.0, 0.5, -1.0]])
    >>> reconstruction, n_atoms = pursue(X, torch.eye(3), 0.3, max_atoms=3)
    >>> reconstruction.tolist(), n_atoms.tolist()
    ([[3.0, 0.0, -1.0]], [2])
    """
    limits = torch.as_tensor(max_error, dtype=X.dtype, device=X.device).expand(len(X))
    masks = repeat(None) if observed is None else observed.to(X.dtype).split(_ROWS)
    blocks = zip(X.split(_ROWS), limits.split(_ROWS), masks)
    unit = torch.nn.functional.normalize(atoms, dim=1)
    results = [_pursue_block(block, unit, limit, max_atoms, mask) for block, limit, mask in blocks]
    reconstructions, counts = zip(*results)
    return torch.cat(reconstructions), torch.cat(counts)


def _pursue_block(X: Tensor, unit: Tensor, limit: Tensor, max_atoms: int, mask: Tensor | None) -> tuple[Tensor, Tensor]:
    reconstruction, counts = torch.zeros_like(X), torch.zeros(len(X), dtype=torch.int64, device=X.device)
    pursuit = _Pursuit.start(X, unit, mask)
    rows = torch.arange(len(X), device=X.device)
    for n_atoms in range(1, min(max_atoms, *unit.shape) + 1):
        going = (pursuit.residual.square().sum(1) > limit[rows]).nonzero().squeeze(1)
        if len(going) == 0:
            break
        if len(going) < len(rows):
            rows, pursuit = rows[going], pursuit.keep_rows(going)
        pursuit, gain = pursuit.take_atom(unit)
        reconstruction.index_add_(0, rows, gain)
        counts[rows] = n_atoms
    return reconstruction, counts


class _Pursuit(NamedTuple):
    """Rows on their way: orthonormal directions `seen` on observed entries, `whole` the same sums of atoms on all."""

    residual: Tensor  # (n, d), zero where nothing is observed
    seen: Tensor  # (n, k, d)
    whole: Tensor  # (n, k, d)
    mask: Tensor | None  # (n, d)
    norms: Tensor | None  # (n, l), of the atoms on the observed entries; None: one

    @classmethod
    def start(cls, X: Tensor, unit: Tensor, mask: Tensor | None) -> Self:
        directions = X.new_zeros(len(X), 0, X.shape[1])
        if mask is None:
            return cls(X, directions, directions, None, None)
        return cls(X * mask, directions, directions, mask, (mask @ unit.square().mT).sqrt())

    def keep_rows(self, rows: Tensor) -> "_Pursuit":
        return _Pursuit(*(None if value is None else value.index_select(0, rows) for value in self))  # type: ignore[arg-type]

    def take_atom(self, unit: Tensor) -> tuple["_Pursuit", Tensor]:
        """Return the state with one more atom, and what it adds to the reconstructions."""
        floor = torch.finfo(unit.dtype).eps ** 0.5
        new = unit.index_select(0, self._best(unit, floor))
        direction = new if self.mask is None else new * self.mask
        length = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        for _ in range(2):  # the second time takes out the rounding of the first
            along = torch.einsum("nd,nkd->nk", direction, self.seen)
            direction = direction - torch.einsum("nk,nkd->nd", along, self.seen)
            new = new - torch.einsum("nk,nkd->nd", along, self.whole)
        left = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        # What lies in the span already is rounding: it adds nothing.
        scale = torch.where(left > floor * length, 1 / left, 0)
        direction, new = direction * scale, new * scale
        amount = (self.residual * direction).sum(1, keepdim=True)
        seen = torch.cat([self.seen, direction[:, None]], 1)
        whole = seen if self.mask is None else torch.cat([self.whole, new[:, None]], 1)
        residual = self.residual - amount * direction
        return _Pursuit(residual, seen, whole, self.mask, self.norms), amount * new

    def _best(self, unit: Tensor, floor: float) -> Tensor:
        correlation = (self.residual @ unit.mT).abs_()
        if self.norms is not None:
            correlation = torch.where(self.norms > floor, correlation / self.norms, 0)
        return correlation.argmax(1)
