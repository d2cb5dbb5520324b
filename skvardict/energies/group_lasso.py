"""The group lasso: components that are on or off together."""

from dataclasses import dataclass
from math import sqrt

import torch
from torch import Tensor

from skvardict.energies.penalty import Penalty
from skvardict.functional import row_norms


@dataclass(frozen=True)
class GroupLasso(Penalty):
    """``alpha sqrt(p) sum_g |z_g|_2`` over groups of `p` neighbouring components, over ``z >= 0`` if `positive`.

    Parameters
    ----------
    alpha : float
        Larger leaves fewer groups on.
    group_size : int
        Components per group, p; it divides the number of components.
    positive : bool

    References
    ----------
    Yuan & Lin, Model selection and estimation in regression with grouped variables, JRSS B 2006.
    """

    alpha: float
    group_size: int
    positive: bool = True
    name = "group_lasso"

    def measure(self, codes: Tensor) -> Tensor:
        """Return ``sqrt(p) sum_g |z_g|_2`` per row."""
        return sqrt(self.group_size) * self._norms(codes).sum(-1)

    def prox(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Shorten every group by ``step * alpha * sqrt(p)``, after a projection where codes are non-negative."""
        point = point.clamp_min(0) if self.positive else point
        norms = self._norms(point)
        length = (norms - step * (self.alpha * sqrt(self.group_size))).clamp_min(0)
        factor = length / norms.clamp_min(torch.finfo(norms.dtype).tiny)
        return point * factor.repeat_interleave(self.group_size, dim=-1)

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Return the largest norm of a group's correlations, over ``sqrt(p)``."""
        correlation = (-gradient).clamp_min(0) if self.positive else gradient
        return self._norms(correlation).amax(-1) / sqrt(self.group_size)

    def _norms(self, codes: Tensor) -> Tensor:
        if codes.shape[-1] % self.group_size:
            raise ValueError(
                f"GroupLasso: codes have {codes.shape[-1]} components, which do not make groups of {self.group_size}. "
                "Choose a group_size that divides n_components."
            )
        return row_norms(codes.unflatten(-1, (-1, self.group_size))).squeeze(-1)
