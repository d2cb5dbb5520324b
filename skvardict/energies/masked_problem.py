"""The inference problem of a linear dictionary for rows with missing entries, which are NaN."""

from typing import Self

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.energies.coupling import Coupling
from skvardict.energies.energy_problem import EnergyProblem
from skvardict.energies.penalty import Penalty
from skvardict.energies.reconstruction import observed_reconstruction
from skvardict.energies.variance_hinge import VarianceHinge
from skvardict.functional import gram, schatten_bound
from skvardict.solvers.protocol import Gap


def may_have_missing(X: Tensor) -> bool:
    """Return whether entries may be missing; on a GPU, where asking would wait for the device, they always may."""
    return X.is_cuda or bool(X.isnan().any())


class MaskedLinearProblem(EnergyProblem):
    """Codes for a linear dictionary from the observed entries of each row.

    With the set O of d_o observed entries of a row, the reconstruction and its gradient are

        1/d_o sum_(f in O) (x_f - (z W)_f)^2,    2/d_o ((z W - x) restricted to O) W^T

    so that every row has a Hessian of its own: two products with the atoms per iteration. The mean over the observed
    entries has the same expectation as that over all, if entries are missing at random: `alpha` keeps its meaning. A
    row without any entry has no reconstruction term.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
        NaN where an entry is missing.
    components : Tensor of shape (..., l, d)
    penalty : Penalty
    coupling : Coupling or None
    hinge : VarianceHinge or None

    Notes
    -----
    The curvature of a row with d_o entries is at most ``d / d_o`` times that of a complete one, so it takes a step that
    is as much shorter, whatever its batch mates; under a hinge, which couples rows, all take the shortest.
    """

    check_every = 4

    def __init__(
        self,
        X: Tensor,
        components: Tensor,
        penalty: Penalty,
        coupling: Coupling | None = None,
        hinge: VarianceHinge | None = None,
    ):
        super().__init__(X, penalty, coupling, hinge)
        self.components = components
        observed = ~X.isnan()
        counts = observed.sum(-1, keepdim=True, dtype=X.dtype).clamp_min(1)
        self.target = torch.where(observed, X, 0)
        self.weight = observed * (2 / counts)
        self._gram_bound = schatten_bound(gram(components))
        self._per_row = 2 / counts  # (..., n, 1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return ``codes @ components``."""
        return codes @ self.components

    def curvature(self) -> Tensor:
        """Return a bound of the curvature of rows with all entries."""
        return self._smooth_curvature(self._gram_bound * (2 / self.components.shape[-1]))

    def row_gradient(self, point: Tensor) -> Tensor:
        """Return the gradient of reconstruction and coupling."""
        residual = (self.decode(point) - self.target).mul_(self.weight)
        gradient = residual @ self.components.mT
        return gradient if self.coupling is None else gradient + self.coupling.gradient(point)

    def with_step(self, step: float | Tensor) -> Self:
        """Return the problem in which `step` is that of a row with all entries; others take shorter ones."""
        complete = self.curvature()[..., None, None]
        bound = self._gram_bound[..., None, None]
        more = bound * (self._per_row - 2 / self.components.shape[-1])
        share = complete / (complete + more).clamp_min(torch.finfo(complete.dtype).tiny)
        return super().with_step(step * (_shortest(share) if self.couples_rows else share))

    def keep_rows(self, keep: Tensor, ended_codes: Tensor) -> Self:
        """Return the problem of the rows `keep`."""
        kept = self._rows_leave(ended_codes)
        for name in ("X", "target", "weight", "_per_row"):
            setattr(kept, name, getattr(self, name).index_select(0, keep))
        kept.coupling = None if self.coupling is None else self.coupling.keep_rows(keep)
        if isinstance(self._step, Tensor) and self._step.dim() > 1 and self._step.shape[-2] > 1:
            kept._step = self._step.index_select(-2, keep)
        return kept

    def relative_gap(self, codes: Tensor, gradient: Tensor | None = None) -> Gap:
        """Raise a ValueError: the duality gap is that of rows with all entries."""
        raise ValueError(
            "criterion='gap' needs rows without missing entries: masked rows have no duality gap here, but X has NaN. "
            "Use criterion='change', or fill in what is missing."
        )

    def _reconstruction(self, point: Tensor) -> Tensor:
        return observed_reconstruction(self.X, self.decode(point))


def _shortest(shares: Tensor) -> Tensor:
    """Return the smallest of `shares` (..., n, 1), which are at most 1, over the rows of the batch."""
    own = shares.amin(-2, keepdim=True) if shares.shape[-2] else shares.new_ones(*shares.shape[:-2], 1, 1)
    return ranks.all_min(own)
