"""Dictionary learning with iterative inference and an encoder that learns to predict its result.

One training step, for a batch X: predict codes E with the encoder; infer codes Z by the solver, started at and
coupled to the prediction (held constant); then

    decoder loss = mean |X - D(Z)|^2,    encoder loss = mean |Z - E|^2      (Z held constant)

Without an encoder the solver starts at zero (non-linear decoders: slightly above) and there is no coupling.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from skvardict._utils.modules import evaluating
from skvardict.energies import (
    DecoderProblem,
    LinearProblem,
    Penalties,
    linear_reconstruction_loss,
    reconstruction,
    variance_hinge,
)
from skvardict.energies.problems import CodingProblem
from skvardict.functional import gram, mean_and_std
from skvardict.networks import LinearDecoder, MLPDecoder, normalize_atoms_
from skvardict.solvers import FISTA, SolverResult
from skvardict.training.protocol import Position

Sums = dict[str, Tensor]

# Without an encoder codes start here: at zero a decoder of ReLUs whose biases are zero has no gradient.
_START_OF_NONLINEAR_DECODERS = 1e-2
_TRACKING_MARGIN = 1.1  # on the curvature estimated in training


@dataclass
class DictionaryObjective:
    """Losses, validation energy and constraints of a sparse autoencoder with iterative inference.

    Parameters
    ----------
    decoder, encoder : Module
        `encoder` may be None: the solver then starts at zero, or slightly above for a non-linear decoder.
    n_components : int
        Length l of a code.
    batch_rows : float
        Rows in a training batch, on average: the hinge belongs to a batch, and this many share it in energies per row.
    solver : solver
    penalties : Penalties
        With the variance hinge; it acts in training steps only.
    atom_norm : float or None
        Norm that the rows of every decoder matrix are set to after each step.
    learning_rate, encoder_learning_rate : float
        A schedule of the rate acts on the decoder's only.
    weight_decay : float
        Of the decoder's weights.
    bias_decay, encoder_bias_decay : float
        Weight decay of the biases of the decoder and the encoder.
    optimizer : {"adam", "sgd"}
    """

    decoder: nn.Module
    encoder: nn.Module | None
    n_components: int
    batch_rows: float
    solver: FISTA
    penalties: Penalties
    atom_norm: float | None
    learning_rate: float
    encoder_learning_rate: float
    weight_decay: float = 0.0
    bias_decay: float = 0.0
    encoder_bias_decay: float = 0.0
    optimizer: str = "adam"

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        parts = {"decoder": self.decoder}
        return parts if self.encoder is None else parts | {"encoder": self.encoder}

    def parameter_groups(self) -> list[dict]:
        """Return the optimiser's groups: decoder weights and biases, encoder weights and biases."""
        groups = _split_biases(self.decoder, self.learning_rate, self.weight_decay, self.bias_decay)
        if self.encoder is not None:
            encoder = _split_biases(self.encoder, self.encoder_learning_rate, 0.0, self.encoder_bias_decay)
            groups += [{**group, "decays": False} for group in encoder]
        return groups

    def advance_to(self, position: Position) -> None:
        """Nothing is warmed up."""

    def constrain_(self) -> None:
        """Put the decoder back on its constraint set."""
        if self.atom_norm is not None:
            normalize_atoms_(self.decoder.atom_matrices(), self.atom_norm)  # type: ignore[operator]

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
            return self._solve(X, prediction, coupled_rows=coupled_rows)

    def step(self, X: Tensor, generator: torch.Generator) -> tuple[dict[str, Tensor], Sums]:
        """Return the losses of a batch, ready for one backward pass, and sums for the history."""
        prediction = None if self.encoder is None else self.encoder(X)
        result = self._solve(X, None if prediction is None else prediction.detach(), coupled_rows=True)
        codes = result.codes
        losses = {"decoder": self._decoder_loss(X, codes)}
        if prediction is not None:
            losses["encoder"] = nn.functional.mse_loss(prediction, codes)
        return losses, self._sums(result, losses)

    @torch.no_grad()
    def evaluate(self, X: Tensor) -> Sums:
        """Return sums over a validation batch, of the encoder's codes; without an encoder, of the solver's."""
        with evaluating(self.decoder, self.encoder):
            codes = self.infer(X).codes if self.encoder is None else self.encoder(X)
            error = reconstruction(X, self.decoder(codes))
        hinge = variance_hinge(codes, self.penalties.std_threshold)
        return {
            "n_rows": X.new_tensor(len(X)),
            "n_batches": X.new_ones(()),
            "hinge": hinge,
            "reconstruction": error.sum(),
            "log10_error": error.log10().sum(),
            "square_sum": X.square().sum(0),
            "row_sum": X.sum(0),
            "l1": codes.abs().sum(),
            "n_nonzero": torch.count_nonzero(codes),
        }

    def summarize(self, sums: Sums, *, validation: bool) -> dict[str, float]:
        """Return the history entries of an epoch: per row, in the units of the package."""
        n_rows, n_batches = float(sums["n_rows"]), float(sums["n_batches"])
        if validation:
            error, l1 = float(sums["reconstruction"]) / n_rows, float(sums["l1"]) / n_rows
            hinge = float(sums["hinge"]) / n_batches
            return {
                "validation_energy": error + self.penalties.alpha * l1 + self.penalties.beta * hinge / self.batch_rows,
                "validation_reconstruction": error,
                "validation_r2": _r2(sums, n_rows),
                "validation_psnr": -10 * float(sums["log10_error"]) / n_rows,
                "validation_sparsity": 1 - float(sums["n_nonzero"]) / (n_rows * self.n_components),
                "validation_l1": l1,
            }
        n_active, hinge = sums["n_active"], float(sums["hinge"]) / n_batches
        per_row = {name: float(sums[name]) / n_rows for name in ("reconstruction", "coupling", "l1", "n_iter")}
        return {
            "energy": per_row["reconstruction"]
            + self.penalties.gamma * per_row["coupling"]
            + self.penalties.alpha * per_row["l1"]
            + self.penalties.beta * hinge / self.batch_rows,
            "reconstruction": per_row["reconstruction"],
            "l1": per_row["l1"],
            "hinge": hinge,
            "coupling": per_row["coupling"],
            "sparsity": 1 - float(n_active.sum()) / (n_rows * len(n_active)),
            "n_dead": int((n_active == 0).sum()),
            "component_std": float(sums["std"]) / n_batches,
            "solver_n_iter": per_row["n_iter"],
            "solver_n_unconverged": int(sums["n_unconverged"]),
        }

    def _solve(self, X: Tensor, prediction: Tensor | None, *, coupled_rows: bool) -> SolverResult:
        problem = self.problem(X, prediction, coupled_rows=coupled_rows)
        start = prediction
        if start is None:
            first = 0.0 if isinstance(self.decoder, LinearDecoder) else _START_OF_NONLINEAR_DECODERS
            start = X.new_full((*X.shape[:-1], self.n_components), first)
        with evaluating(self.decoder):  # rows keep their codes to themselves, and iterations leave no trace
            return self.solver.solve(problem, start)

    def _decoder_loss(self, X: Tensor, codes: Tensor) -> Tensor:
        if isinstance(self.decoder, LinearDecoder):
            return linear_reconstruction_loss(self.decoder.components, codes, X)
        return nn.functional.mse_loss(self.decoder(codes), X)

    @torch.no_grad()
    def _sums(self, result: SolverResult, losses: dict[str, Tensor]) -> Sums:
        codes = result.codes
        n_rows = codes.shape[-2]
        _, std = mean_and_std(codes)
        return {
            "n_rows": codes.new_tensor(n_rows),
            "n_batches": codes.new_ones(()),
            "reconstruction": losses["decoder"].detach() * n_rows,
            "coupling": losses["encoder"].detach() * n_rows if "encoder" in losses else codes.new_zeros(()),
            "l1": codes.abs().sum(),
            "hinge": (self.penalties.std_threshold - std).clamp_min(0).square().sum(),
            "std": std.mean(),
            "n_active": torch.count_nonzero(codes, dim=0),
            "n_iter": result.n_iter.sum(),
            "n_unconverged": torch.count_nonzero(~result.converged),
        }


def _r2(sums: Sums, n_rows: float) -> float:
    """Return R^2 over all features together, from sums; a validation set without variance has none (nan)."""
    scatter = float((sums["square_sum"] - sums["row_sum"].square() / n_rows).mean())
    return 1 - float(sums["reconstruction"]) / scatter if scatter > 0 else float("nan")


def _split_biases(module: nn.Module, lr: float, weight_decay: float, bias_decay: float) -> list[dict]:
    named = list(module.named_parameters())
    biases = [parameter for name, parameter in named if "bias" in name]
    weights = [parameter for name, parameter in named if "bias" not in name]
    groups = [{"params": weights, "lr": lr, "weight_decay": weight_decay}]
    return [*groups, {"params": biases, "lr": lr, "weight_decay": bias_decay}] if biases else groups
