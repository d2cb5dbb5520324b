"""Dictionary learning from rows with missing entries, which are NaN."""

from dataclasses import dataclass

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.energies.masked_problem import may_have_missing
from skvardict.objectives.dictionary import DictionaryObjective, Sums
from skvardict.training.protocol import Position, Statistics


@dataclass
class MaskedDictionaryObjective(DictionaryObjective):
    """Losses of a dictionary model on the observed entries: ``mean_i 1/d_i sum_(f observed) (x_if - D(z_i)_f)^2``.

    Statistics for :class:`~skvardict.training.OnlineUpdate` are those of rows in which the present atoms have filled in
    what is missing, ``A = sum w_i z z^T`` and ``B = sum w_i z x^T`` with ``w_i = d / d_i``. The squared error of filled
    rows lies above that of the observed entries and touches it at the present atoms, so atoms that lower the one lower
    the other (majorisation, as in expectation maximisation).
    """

    def _may_be_recorded(self, X: Tensor) -> bool:
        return False  # it asks whether entries are missing

    def _statistics(self, codes: Tensor, X: Tensor) -> Statistics:
        if not may_have_missing(X):
            return super()._statistics(codes, X)
        counts = (~X.isnan()).sum(-1, keepdim=True, dtype=codes.dtype)
        weighted = codes * torch.where(counts > 0, X.shape[-1] / counts.clamp_min(1), 0)
        return Statistics(codes, weighted.mT @ codes, weighted.mT @ self._filled(X, codes))

    def _decoder_loss(self, codes: Tensor, X: Tensor, statistics: Statistics | None) -> Tensor:
        if not may_have_missing(X):
            return super()._decoder_loss(codes, X, statistics)
        return self.model.reconstruction(X, codes).mean(-1)

    def _replace(self, position: Position, X: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        super()._replace(position, self._filled(X, codes), codes, generator)

    @torch.no_grad()
    def evaluate(self, X: Tensor) -> Sums:
        """Return sums over a validation batch; of squares and entries those that the mean observed entry stands for."""
        if not ranks.any_of(may_have_missing(X)):
            return super().evaluate(X)
        counts, squares, entries = ranks.all_sums((~X.isnan()).sum(-2).to(X.dtype), X.square().nansum(-2), X.nansum(-2))
        sums = {"square_sum": squares, "row_sum": entries}
        return super().evaluate(X) | {name: value / counts.clamp_min(1) * X.shape[-2] for name, value in sums.items()}

    def _filled(self, X: Tensor, codes: Tensor) -> Tensor:
        """Return the rows with reconstructions in the place of missing entries."""
        return torch.where(X.isnan(), self.model.decoder(codes).detach(), X)
