"""The variational model for rows with missing entries, which are NaN: the likelihood of the observed ones."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.energies import MaskedLinearProblem, observed_reconstruction
from skvardict.models.masked import solved_apart, with_zeros
from skvardict.models.variational import VariationalModel
from skvardict.solvers import SolverResult


@dataclass
class MaskedVariationalModel(VariationalModel):
    """A variational model whose likelihood is that of the observed entries of each row.

    Features are independent given the code, so that a missing entry adds nothing to ``log p(x|z)``: the squared error
    is a sum over the observed entries, still divided by all d features. The encoder, which needs a number everywhere,
    reads zeros in the place of missing entries. Rows of which nothing is missing have the losses, codes and bounds that
    they have without masks.
    """

    def posterior(self, X: Tensor) -> Any:
        """Return the posterior that the encoder gives to the rows with zeros for missing entries."""
        return super().posterior(with_zeros(X))

    def error(self, X: Tensor, decoded: Tensor) -> Tensor:
        """Return ``1/d sum_(f observed) (x_f - D(z)_f)^2`` per row."""
        return torch.where(X.isnan(), 0, decoded - X).square().mean(-1)

    def expected_error(self, X: Tensor, decoded: Tensor, variance: Tensor, atoms: Tensor) -> Tensor:
        """Return the mean of :meth:`error` over codes whose mean is decoded, per row, for a linear decoder."""
        if not bool(X.isnan().any()):
            return super().expected_error(X, decoded, variance, atoms)
        spread = torch.where(X.isnan(), 0, variance @ atoms.square()).mean(-1)
        return self.error(X, decoded) + spread

    def cross_moment(self, X: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Return ``E Z^T X``, missing entries being what the present atoms make of the code, ``E Z^T Z W``.

        The expected error of rows filled so lies above that of the observed entries, and touches it at the present
        atoms: atoms that lower the one lower the other (majorisation).
        """
        if not bool(X.isnan().any()):
            return super().cross_moment(X, mean, variance)
        decoder: Any = self.decoder
        atoms, missing = decoder.components.detach(), X.isnan()
        filled = torch.where(missing, mean @ atoms, decoder.centered(X))
        return mean.mT @ filled + (variance.mT @ missing.to(variance.dtype)) * atoms

    def follow_noise_(self, error: Tensor, X: Tensor) -> None:
        """Let the learnt noise follow the errors per observed entry."""
        share = ranks.all_mean((~X.isnan()).to(error.dtype).mean((-2, -1)), X.shape[-2])
        super().follow_noise_(error / share.clamp_min(1 / X.shape[-1])[..., None], X)

    def check_algorithm(self, algorithm: str) -> None:
        """Raise a ValueError where `encode` cannot use the algorithm with these parts."""
        super().check_algorithm(algorithm)
        if algorithm == "refine":
            raise ValueError(
                "transform_algorithm='refine' needs complete rows, but missing='mask'. Use "
                "transform_algorithm='support'."
            )

    def mean_observed_error(self, X: Tensor, decoded: Tensor) -> Tensor:
        """Return the mean of ``(x_f - D(z)_f)^2`` over the observed entries, per row."""
        return observed_reconstruction(X, decoded)

    def totals(self, X: Tensor) -> dict[str, Tensor]:
        """Return sums over the rows of squares and entries, those that the mean observed entry stands for."""
        share = (~X.isnan()).to(X.dtype).mean(-2)
        sums = {"square_sum": X.square().nansum(-2), "row_sum": X.nansum(-2)}
        return {name: torch.where(share > 0, value / share, 0) for name, value in sums.items()}

    def n_observed(self, X: Tensor) -> Tensor:
        """Return the number of observed entries per row."""
        return (~X.isnan()).sum(-1, dtype=X.dtype)

    def _solve(self, X: Tensor, start: Tensor) -> SolverResult:
        """Return the most probable codes; the error of rows with missing entries is a mean over the observed ones."""
        solve = super()._solve
        return solved_apart(X, lambda rows: solve(X[rows], start[rows]), lambda: self._problem(X))

    def _problem(self, X: Tensor) -> Any:
        if not bool(X.isnan().any()):
            return super()._problem(X)
        decoder: Any = self.decoder
        return MaskedLinearProblem(decoder.centered(X), decoder.components.detach(), self._penalty)
