"""The dictionary model for rows with missing entries, which are NaN."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils import ranks
from skvardict.energies import Coupling, EnergyProblem, MaskedLinearProblem, Penalty, observed_reconstruction
from skvardict.energies.masked_problem import may_have_missing
from skvardict.models.dictionary import DictionaryModel
from skvardict.solvers import ADMM, SolverResult


@dataclass
class MaskedDictionaryModel(DictionaryModel):
    """A dictionary model whose reconstruction term counts the observed entries of each row.

    The encoder, which needs a number everywhere, reads zeros in the place of missing entries: the mean of standardised
    data. Complete rows have the codes that they have without masks, whatever other rows lack.
    """

    def __post_init__(self):
        if self.encoder is not None:
            self.encoder.register_forward_pre_hook(_zeros_for_missing)

    def problem(
        self, X: Tensor, prediction: Tensor | None, *, in_training: bool = False, penalty: Penalty | None = None
    ) -> EnergyProblem:
        """Return the inference problem of `X`, with masks where entries are missing."""
        if not _have_missing(X, in_training):
            return super().problem(X, prediction, in_training=in_training, penalty=penalty)
        atoms: Tensor = self.decoder.components.detach()  # type: ignore[operator]
        target = None if prediction is None else Coupling(self.gamma, prediction)
        return MaskedLinearProblem(
            X, atoms, penalty or self.fitted_penalty, target, self.hinge if in_training else None
        )

    def solve(
        self,
        X: Tensor,
        prediction: Tensor | None,
        *,
        in_training: bool = False,
        penalty: Penalty | None = None,
        solver: Any = None,
    ) -> SolverResult:
        """Return codes of the rows of `X`; where entries are missing, rows have no Hessian in common for ADMM."""
        if isinstance(solver, ADMM) and _have_missing(X, in_training):
            solver = None
        return super().solve(X, prediction, in_training=in_training, penalty=penalty, solver=solver)

    @torch.no_grad()
    def infer(self, X: Tensor) -> SolverResult:
        """Return the solver's codes of the rows of `X`, of complete and of other rows apart."""
        infer = super().infer
        return solved_apart(X, lambda rows: infer(X[rows]), lambda: self.problem(X, None))

    def reconstruction(self, X: Tensor, codes: Tensor) -> Tensor:
        """Return the mean squared error over the observed entries, per row."""
        return observed_reconstruction(X, self.decoder(codes))


def solved_apart(X: Tensor, solve: Callable[[Any], SolverResult], problem: Callable[[], EnergyProblem]) -> SolverResult:
    """Return codes of all rows by `solve`, which gets the indices of complete rows and those of others, one by one.

    Rows then have codes that do not depend on what others lack. `problem` is that of all of them.
    """
    is_complete = ~X.isnan().any(-1)
    if bool(is_complete.all()) or not bool(is_complete.any()):
        return solve(slice(None))
    parts = [rows.nonzero().squeeze(1) for rows in (is_complete, ~is_complete)]
    results = [solve(rows) for rows in parts]
    back = torch.cat(parts).argsort()
    codes, n_iter, converged = (
        torch.cat([getattr(result, name) for result in results]).index_select(0, back)
        for name in ("codes", "n_iter", "converged")
    )
    return SolverResult(codes, n_iter, converged, problem())


def _have_missing(X: Tensor, in_training: bool) -> bool:
    """Return whether an entry is missing; in training, of the whole batch, whose rows have one kind of problem."""
    return ranks.any_of(may_have_missing(X)) if in_training else bool(X.isnan().any())


def with_zeros(X: Tensor) -> Tensor:
    """Return the rows with zeros in the place of missing entries."""
    return torch.where(X.isnan(), 0, X)


def _zeros_for_missing(module: nn.Module, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
    X, *rest = arguments
    return with_zeros(X), *rest
