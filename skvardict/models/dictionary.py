"""The dictionary model: a decoder, an encoder that predicts codes, and the solver that infers them.

Codes of a row come from the encoder in one pass, or from the solver, started at the encoder's prediction and coupled to
it. Without an encoder the solver starts at zero (non-linear decoders: slightly above) and there is no coupling.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skvardict._utils.modules import evaluating
from skvardict.energies import DecoderProblem, LinearProblem, Penalties, coupling, l1_norm, reconstruction
from skvardict.energies.problems import CodingProblem
from skvardict.functional import gram
from skvardict.networks import LinearDecoder, MLPDecoder
from skvardict.solvers import FISTA, SolverResult

# Without an encoder codes start here: at zero a decoder of ReLUs whose biases are zero has no gradient.
_START_OF_NONLINEAR_DECODERS = 1e-2
_TRACKING_MARGIN = 1.1  # on the curvature estimated in training


@dataclass
class DictionaryModel:
    """How rows get codes by iterative inference or an encoder, and codes get reconstructions.

    Parameters
    ----------
    decoder, encoder : Module
        `encoder` may be None: the solver then starts at zero, or slightly above for a non-linear decoder.
    n_components : int
        Length l of a code.
    solver : solver
    penalties : Penalties
        With the variance hinge; it acts where rows are coupled, in training, only.
    """

    decoder: nn.Module
    encoder: nn.Module | None
    n_components: int
    solver: FISTA
    penalties: Penalties

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        parts = {"decoder": self.decoder}
        return parts if self.encoder is None else parts | {"encoder": self.encoder}

    def problem(self, X: Tensor, prediction: Tensor | None, *, coupled_rows: bool) -> CodingProblem:
        """Return the inference problem of `X`; the hinge is part of it where `coupled_rows`."""
        penalties = Penalties(
            alpha=self.penalties.alpha,
            positive=self.penalties.positive,
            beta=self.penalties.beta if coupled_rows else 0.0,
            std_threshold=self.penalties.std_threshold,
            gamma=0.0 if prediction is None else self.penalties.gamma,
        )
        if isinstance(self.decoder, LinearDecoder):
            return LinearProblem(X, self.decoder.components.detach(), penalties, prediction)
        curvature = metric = None
        if isinstance(self.decoder, MLPDecoder):
            # Training asks once per batch, where the bound would cost as much as the solver and triple the curvature.
            norm_sq = (
                self.decoder.tracked_norm_squared() * _TRACKING_MARGIN
                if coupled_rows
                else self.decoder.lipschitz_squared()
            )
            curvature = norm_sq * (2 / X.shape[-1])
            if coupled_rows and penalties.beta == 0:
                # The Hessian of the reconstruction where all units are active.
                metric = gram(self.decoder.atoms().detach()) * (2 / X.shape[-1])
        return DecoderProblem(X, self.decoder, penalties, prediction, curvature, metric)

    def infer(self, X: Tensor, *, coupled_rows: bool = False) -> SolverResult:
        """Return the solver's codes of the rows of `X`, from the encoder's prediction where there is one."""
        with torch.no_grad():
            prediction = None if self.encoder is None else self.encoder(X)
            return self.solve(X, prediction, coupled_rows=coupled_rows)

    def energy_terms(self, X: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Return the unweighted terms of the energy per row, each of shape (n,); "coupling" only with an encoder."""
        terms = {"reconstruction": reconstruction(X, self.decoder(codes)), "l1": l1_norm(codes)}
        return terms if self.encoder is None else terms | {"coupling": coupling(codes, self.encoder(X))}

    def solve(self, X: Tensor, prediction: Tensor | None, *, coupled_rows: bool) -> SolverResult:
        """Return the solver's codes of the rows of `X`, started at and coupled to `prediction`."""
        problem = self.problem(X, prediction, coupled_rows=coupled_rows)
        start = prediction
        if start is None:
            first = 0.0 if isinstance(self.decoder, LinearDecoder) else _START_OF_NONLINEAR_DECODERS
            start = X.new_full((*X.shape[:-1], self.n_components), first)
        with evaluating(self.decoder):  # rows keep their codes to themselves, and iterations leave no trace
            return self.solver.solve(problem, start)
