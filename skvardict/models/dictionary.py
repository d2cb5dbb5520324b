"""The dictionary model: a decoder, an encoder that predicts codes, and the solver that infers them.

Codes of a row come from the encoder in one pass, or from the solver, started at the encoder's prediction and coupled to
it. Without an encoder the solver starts at zero (non-linear decoders: slightly above) and there is no coupling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils.modules import evaluating
from skvardict.energies import Coupling, EnergyProblem, Penalty, VarianceHinge, coupling, reconstruction
from skvardict.functional import Weight
from skvardict.networks import coding_problem
from skvardict.solvers import FISTA, SolverResult


class TunedWeight(nn.Module):
    """The weight of a penalty as a saved number that training changes.

    Parameters
    ----------
    alpha : float
        First value.
    """

    alpha: Tensor

    def __init__(self, alpha: float):
        super().__init__()
        self.register_buffer("alpha", torch.tensor(alpha))

    def move_(self, excess: Tensor | float) -> None:
        """Multiply the weight by ``exp(excess)``."""
        self.alpha.mul_(torch.as_tensor(excess).exp().reshape(self.alpha.shape))


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
    penalty : Penalty
    hinge : VarianceHinge
        It acts in training only, where rows come in batches.
    gamma : float, or Tensor of shape (..., 1, 1)
        Weight of the coupling to the encoder's prediction.
    tuned : TunedWeight or None
        The penalty's weight, where training looks for it.
    """

    decoder: nn.Module
    encoder: nn.Module | None
    n_components: int
    solver: FISTA
    penalty: Penalty
    hinge: VarianceHinge
    gamma: Weight = 0.0
    tuned: TunedWeight | None = None

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        parts = {"decoder": self.decoder, "encoder": self.encoder, "penalty": self.tuned}
        return {name: part for name, part in parts.items() if part is not None}

    @property
    def fitted_penalty(self) -> Penalty:
        """The penalty, with the weight that training has found where it looks for one."""
        if self.tuned is None:
            return self.penalty
        alpha = self.tuned.alpha
        return self.penalty.with_alpha(alpha if alpha.dim() or alpha.is_cuda else float(alpha))

    def problem(
        self, X: Tensor, prediction: Tensor | None, *, in_training: bool = False, penalty: Penalty | None = None
    ) -> EnergyProblem:
        """Return the inference problem of `X`, under `penalty` or the model's own; the hinge belongs to training."""
        target = None if prediction is None else Coupling(self.gamma, prediction)
        hinge = self.hinge if in_training else None
        return coding_problem(self.decoder, X, penalty or self.fitted_penalty, target, hinge, in_training=in_training)

    def infer(self, X: Tensor) -> SolverResult:
        """Return the solver's codes of the rows of `X`, from the encoder's prediction where there is one."""
        with torch.no_grad():
            return self.solve(X, None if self.encoder is None else self.encoder(X))

    def solve(
        self,
        X: Tensor,
        prediction: Tensor | None,
        *,
        in_training: bool = False,
        penalty: Penalty | None = None,
        solver: Any = None,
    ) -> SolverResult:
        """Return codes of the rows of `X`, started at and coupled to `prediction`, by `solver` or the model's own."""
        problem = self.problem(X, prediction, in_training=in_training, penalty=penalty)
        return self.solve_posed(problem, prediction, solver)

    def solve_posed(self, problem: EnergyProblem, prediction: Tensor | None, solver: Any = None) -> SolverResult:
        """Return what :meth:`solve` does, of a problem that is there already."""
        start, X = prediction, problem.X
        if start is None:
            start = X.new_full((*X.shape[:-1], self.n_components), problem.first_code)
        with evaluating(self.decoder):  # rows keep their codes to themselves, and iterations leave no trace
            return (solver or self.solver).solve(problem, start)

    def reconstruction(self, X: Tensor, codes: Tensor) -> Tensor:
        """Return ``1/d |x - D(z)|^2`` per row, shape (..., n)."""
        return reconstruction(X, self.decoder(codes))

    def energy_terms(self, X: Tensor, codes: Tensor) -> dict[str, Tensor]:
        """Return the unweighted terms of the energy per row, each of shape (n,); "coupling" only with an encoder."""
        terms = {
            "reconstruction": self.reconstruction(X, codes),
            self.penalty.name: self.penalty.measure(codes),
        }
        return terms if self.encoder is None else terms | {"coupling": coupling(codes, self.encoder(X))}

    def energy(self, means: Mapping[str, float], batch_rows: float = 1.0) -> float:
        """Return the energy per row from the means of the unweighted terms; a missing "coupling" or "hinge" is zero.

        The hinge belongs to a batch: `batch_rows` rows share it.
        """
        coupled = means["reconstruction"] + float(self.gamma) * means.get("coupling", 0.0)
        penalized = coupled + float(self.fitted_penalty.alpha) * means[self.penalty.name]
        return penalized + float(self.hinge.beta) * means.get("hinge", 0.0) / batch_rows
