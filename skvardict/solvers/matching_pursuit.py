"""Orthogonal matching pursuit of many rows at once."""

from typing import NamedTuple, Self

import torch
from torch import Tensor
from torch.nn.functional import pad

_ENTRIES = 2**20  # of the correlations, bases and triangles of the rows that are pursued together: 8 MB
_ROWS = 4096  # that are pursued together at most


@torch.no_grad()
def orthogonal_matching_pursuit(
    X: Tensor,
    components: Tensor,
    n_nonzero_coefs: int,
    max_error: Tensor | float = 0.0,
    *,
    observed: Tensor | None = None,
) -> Tensor:
    """Return codes that grow by the atom most aligned with what is left of the row, fitted anew after each.

    With ``r`` the residual of a row, the atom of largest ``|<r, w_j>| / |w_j|`` joins; its part outside the span of the
    atoms before it, by Gram-Schmidt done twice, is the next row of an orthonormal basis ``Q`` and takes its share out
    of ``r``. The codes solve ``z W_S = x Q^T Q``. A row ends when ``|r|^2 <= max_error``, or when no atom adds a
    direction. With `observed`, residuals, correlations and norms count the observed entries of the row alone.

    Parameters
    ----------
    X : Tensor of shape (n, d)
        Entries that are not observed are not read; they have to be finite.
    components : Tensor of shape (l, d)
        Of any norms; atoms of norm zero are never chosen.
    n_nonzero_coefs : int
        Most atoms per row.
    max_error : float or Tensor of shape (n,)
        Squared norm of the residual, over the observed entries, at which a row ends.
    observed : Tensor of shape (n, d), optional
        1 or true where an entry counts.

    Returns
    -------
    codes : Tensor of shape (n, l)

    Notes
    -----
    Cost per row and atom is one product with all atoms, ``l d``. Rows that have ended leave the computation.

    References
    ----------
    Pati, Rezaiifar & Krishnaprasad, Orthogonal matching pursuit, Asilomar 1993. With missing entries: Mairal, Elad &
    Sapiro, Sparse representation for color image restoration, IEEE Transactions on Image Processing 2008, section 3.

    Examples
    --------
    >>> import torch
    >>> from skvardict.solvers.matching_pursuit import orthogonal_matching_pursuit
    >>> X = torch.tensor([[3.0, 0.5, -1.0]])
    >>> orthogonal_matching_pursuit(X, torch.eye(3), 3, max_error=0.3).tolist()
    [[3.0, 0.0, -1.0]]
    """
    norms = torch.linalg.vector_norm(components, dim=1)
    norms = torch.where(norms > 0, norms, 1)
    units = components / norms[:, None]
    limits = torch.as_tensor(max_error, dtype=X.dtype, device=X.device).expand(len(X))
    codes = X.new_zeros(len(X), len(components))
    most = min(n_nonzero_coefs, *components.shape)
    for rows in torch.arange(len(X), device=X.device).split(max(1, min(_ROWS, _ENTRIES // sum(units.shape)))):
        mask = None if observed is None else observed[rows].to(X.dtype)
        waiting = [_Pursuit.start(rows, X[rows], units, limits[rows], mask)]
        while waiting:
            pursuit = waiting.pop().leave(codes, most)
            if len(pursuit.rows):
                waiting.extend(pursuit.take_atom(units).in_parts())
    return codes.div_(norms)


class _Pursuit(NamedTuple):
    """Rows on their way: the chosen atoms, of norm one on observed entries, are ``triangle^T @ basis``."""

    rows: Tensor  # (n,)
    residual: Tensor  # (n, d), zero where nothing is observed
    limit: Tensor  # (n,)
    basis: Tensor  # (n, k, d)
    triangle: Tensor  # (n, k, k)
    along: Tensor  # (n, k), parts of the row in the basis
    chosen: Tensor  # (n, k)
    mask: Tensor | None  # (n, d)
    norms: Tensor | None  # (n, l), of the atoms on the observed entries, infinite where nothing is left; None: one

    @classmethod
    def start(cls, rows: Tensor, X: Tensor, units: Tensor, limit: Tensor, mask: Tensor | None) -> Self:
        n, d = X.shape
        nothing = X.new_zeros(n, 0, d), X.new_zeros(n, 0, 0), X.new_zeros(n, 0), rows.new_zeros(n, 0)
        if mask is None:
            return cls(rows, X, limit, *nothing, None, None)
        norms = (mask @ units.square().mT).sqrt()
        return cls(rows, X * mask, limit, *nothing, mask, torch.where(norms > _floor(norms), norms, torch.inf))

    def leave(self, codes: Tensor, most: int) -> "_Pursuit":
        """Return the rows that go on, having put the codes of the others into `codes`."""
        ended = self.residual.square().sum(1) <= self.limit
        if self.chosen.shape[1] == most:
            ended = torch.ones_like(ended)
        going, left = (~ended).nonzero().squeeze(1), ended.nonzero().squeeze(1)
        if len(left) == 0:
            return self
        self._keep(left)._put_codes_(codes)
        return self._keep(going)

    def take_atom(self, units: Tensor) -> "_Pursuit":
        """Return the state with one more atom."""
        best, direction = self._best(units)
        k = self.chosen.shape[1]
        triangle = pad(self.triangle, (0, 1, 0, 1))
        for _ in range(2):  # the second time takes out the rounding of the first
            shares = torch.einsum("nkd,nd->nk", self.basis, direction)
            direction = direction - torch.einsum("nkd,nk->nd", self.basis, shares)
            triangle[:, :k, k] += shares
        height = torch.linalg.vector_norm(direction, dim=1, keepdim=True)
        # What lies in the span already is rounding: the atom adds nothing, and no other atom would.
        adds = height > _floor(height)
        triangle[:, k, k, None] = torch.where(adds, height, 1)
        direction = direction * torch.where(adds, 1 / height, 0)
        part = (self.residual * direction).sum(1, keepdim=True)
        return self._replace(
            residual=self.residual - part * direction,
            limit=torch.where(adds.squeeze(1), self.limit, torch.inf),
            basis=torch.cat([self.basis, direction[:, None]], 1),
            triangle=triangle,
            along=torch.cat([self.along, part], 1),
            chosen=torch.cat([self.chosen, best[:, None]], 1),
        )

    def in_parts(self) -> list["_Pursuit"]:
        """Return the rows in two halves where they have become too large to go on together."""
        n, k, d = self.basis.shape
        if n == 1 or n * k * (k + d) <= _ENTRIES:
            return [self]
        return [self._keep(rows) for rows in torch.arange(n, device=self.rows.device).chunk(2)]

    def _best(self, units: Tensor) -> tuple[Tensor, Tensor]:
        """Return the atoms most aligned with the residuals (n,), and themselves, of norm one where observed."""
        correlation = (self.residual @ units.mT).abs_()
        if self.norms is None or self.mask is None:
            best = correlation.argmax(1)
            return best, units.index_select(0, best)
        best = correlation.div_(self.norms).argmax(1)
        return best, units.index_select(0, best) * self.mask / self.norms.gather(1, best[:, None])

    def _put_codes_(self, codes: Tensor) -> None:
        values = torch.linalg.solve_triangular(self.triangle, self.along[:, :, None], upper=True).squeeze(2)
        if self.norms is not None:
            values = values / self.norms.gather(1, self.chosen)
        # An atom that adds nothing has the value zero, and may be there already.
        codes.index_put_((self.rows[:, None], self.chosen), values, accumulate=True)

    def _keep(self, rows: Tensor) -> "_Pursuit":
        return _Pursuit(*(None if value is None else value.index_select(0, rows) for value in self))  # type: ignore[arg-type]


def _floor(norms: Tensor) -> float:
    """Return the norm of what is rounding alone, of atoms of norm one."""
    return float(torch.finfo(norms.dtype).eps ** 0.5)
