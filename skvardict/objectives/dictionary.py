"""Dictionary learning with iterative inference and an encoder that learns to predict its result.

One training step, for a batch X: predict codes E with the encoder; infer codes Z by the solver, started at and
coupled to the prediction (held constant); then

    decoder loss = mean |X - D(Z)|^2,    encoder loss = mean |Z - E|^2      (Z held constant)

Without an encoder the solver starts at zero (non-linear decoders: slightly above) and there is no coupling.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils.modules import evaluating
from skvardict.energies import Penalty, reconstruction
from skvardict.functional import count_active, mean_and_std, pooled_r2, quadratic_error
from skvardict.models import DictionaryModel
from skvardict.networks import normalize_atoms_, reconstruction_loss
from skvardict.objectives.groups import decoder_group, encoder_group
from skvardict.objectives.learning import Annealing
from skvardict.solvers import SolverResult
from skvardict.training import TargetSparsity
from skvardict.training.protocol import ParameterGroup, Position, Statistics, Step, Sums


@dataclass
class DictionaryObjective:
    """Losses, validation energy and constraints of a sparse autoencoder with iterative inference.

    Parameters
    ----------
    model : DictionaryModel
    batch_rows : float
        Rows in a training batch, on average: the hinge belongs to a batch, and this many share it in energies per row.
    atom_norm : float or None
        Norm that the rows of every decoder matrix are set to after each step.
    weight_decay : float
        Of the decoder's weights, beside that of the optimiser.
    solver : solver or None
        For training, where few iterations will do; None is the model's. Rows are then not expected to converge.
    tracks : bool
        Whether a LISTA encoder is moved along when the atoms of a linear decoder move.
    gives_statistics : bool
        Whether atoms are moved by statistics of codes; the decoder's loss then has no gradient.
    annealing : Annealing or None
        Of the penalty's weight; validation knows its final value only.
    target : TargetSparsity or None
        By which ``model.tuned`` is moved.
    """

    model: DictionaryModel
    batch_rows: float
    atom_norm: float | None
    weight_decay: float = 0.0
    solver: Any = None
    tracks: bool = False
    gives_statistics: bool = False
    annealing: Annealing | None = None
    target: TargetSparsity | None = None

    def __post_init__(self):
        self._penalty: Penalty | None = None  # of the next step; None is the model's
        self._atoms: Tensor | None = None  # before the step

    @property
    def is_comparable(self) -> bool:
        """Whether validation energies of epochs have the same weights."""
        return self.target is None

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        return self.model.modules()

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the trained tensors of decoder and encoder."""
        groups = [decoder_group(self.model.decoder, self.weight_decay, self.atom_norm)]
        return groups if self.model.encoder is None else [*groups, encoder_group(self.model.encoder)]

    def advance_to(self, position: Position) -> None:
        """Set the weight of the penalty, and remember the atoms that the encoder will follow."""
        penalty = self.model.fitted_penalty
        if self.annealing is not None:
            self._penalty = penalty.with_alpha(self.annealing(penalty.alpha, position))
        if self.tracks:
            self._atoms = self.model.decoder.components.detach().clone()  # type: ignore[operator]

    def constrain_(self) -> None:
        """Put the decoder back on its constraint set, and the encoder where the atoms have gone."""
        if self.atom_norm is not None:
            normalize_atoms_(self.model.decoder.atom_matrices(), self.atom_norm)  # type: ignore[operator]
        if self._atoms is not None and self.model.encoder is not None:
            self.model.encoder.follow_(self._atoms, self.model.decoder.components.detach())  # type: ignore[operator]

    def step(self, X: Tensor, generator: torch.Generator) -> Step:
        """Return the losses of a batch, ready for one backward pass, and sums for the history."""
        prediction = None if self.model.encoder is None else self.model.encoder(X)
        target = None if prediction is None else prediction.detach()
        result = self.model.solve(X, target, in_training=True, penalty=self._penalty, solver=self.solver)
        codes = result.codes
        if self.target is not None and self.model.tuned is not None:
            zeros = ((codes if target is None else target) == 0).mean(dtype=codes.dtype)
            self.model.tuned.move_(self.target.rate * (self.target.target - zeros))
        statistics = self._statistics(codes, X) if self.gives_statistics else None
        losses = {"decoder": self._decoder_loss(codes, X, statistics)}
        if prediction is not None:
            losses["encoder"] = nn.functional.mse_loss(prediction, codes)
        return Step(losses, self._sums(result, losses), statistics)

    def _statistics(self, codes: Tensor, X: Tensor) -> Statistics:
        return Statistics(codes, codes.mT @ codes, codes.mT @ X)

    def _decoder_loss(self, codes: Tensor, X: Tensor, statistics: Statistics | None) -> Tensor:
        if statistics is None:
            return reconstruction_loss(self.model.decoder, codes, X)
        atoms = self.model.decoder.components.detach()  # type: ignore[operator]
        error = torch.linalg.vector_norm(X).square() + quadratic_error(atoms, statistics.gram, statistics.cross)
        return error.clamp_min(0) / X.numel()

    @torch.no_grad()
    def evaluate(self, X: Tensor) -> Sums:
        """Return sums over a validation batch, of the encoder's codes; without an encoder, of the solver's."""
        with evaluating(self.model.decoder, self.model.encoder):
            codes = self.model.infer(X).codes if self.model.encoder is None else self.model.encoder(X)
            error = reconstruction(X, self.model.decoder(codes))
        return {
            "n_rows": len(X),
            "n_batches": 1,
            "hinge": self.model.hinge.measure(codes),
            "reconstruction": error.sum(),
            "log10_error": error.log10().sum(),
            "square_sum": X.square().sum(0),
            "row_sum": X.sum(0),
            "l1": codes.abs().sum(),
            "penalty": self.model.penalty.total(codes),
            "n_nonzero": torch.count_nonzero(codes),
        }

    def summarize(self, sums: Sums, *, validation: bool) -> dict[str, float]:
        """Return the history entries of an epoch: per row, in the units of the package."""
        n_rows, n_batches = float(sums["n_rows"]), float(sums["n_batches"])
        hinge, penalty = float(sums["hinge"]) / n_batches, float(sums["penalty"]) / n_rows
        terms = {self.model.penalty.name: penalty, "hinge": hinge}
        if validation:
            error = float(sums["reconstruction"])
            return {
                "validation_energy": self.model.energy({"reconstruction": error / n_rows, **terms}, self.batch_rows),
                "validation_reconstruction": error / n_rows,
                "validation_r2": pooled_r2(error, sums["square_sum"], sums["row_sum"], n_rows),
                "validation_psnr": -10 * float(sums["log10_error"]) / n_rows,
                "validation_sparsity": 1 - float(sums["n_nonzero"]) / (n_rows * self.model.n_components),
                "validation_l1": float(sums["l1"]) / n_rows,
            }
        n_active = sums["n_active"]
        per_row = {name: float(sums[name]) / n_rows for name in ("reconstruction", "coupling", "l1", "n_iter")}
        return {
            "energy": self.model.energy(per_row | terms, self.batch_rows),
            **({} if self.target is None else {"alpha": self.model.fitted_penalty.alpha}),
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

    @torch.no_grad()
    def _sums(self, result: SolverResult, losses: dict[str, Tensor]) -> Sums:
        codes, penalty = result.codes, self.model.penalty
        n_rows = codes.shape[-2]
        _, std = mean_and_std(codes)
        l1 = codes.abs().sum()
        return {
            "n_rows": n_rows,
            "n_batches": 1,
            "reconstruction": losses["decoder"].detach() * n_rows,
            "coupling": losses["encoder"].detach() * n_rows if "encoder" in losses else 0.0,
            "l1": l1,
            "penalty": l1 if penalty.name == "l1" else penalty.total(codes),
            "hinge": self.model.hinge.measure_of_std(std),
            "std": std.mean(),
            "n_active": count_active(codes),
            "n_iter": result.n_iter.sum(),
            # A solver of few iterations is not meant to converge.
            "n_unconverged": torch.count_nonzero(~result.converged) if self.solver is None else 0,
        }
