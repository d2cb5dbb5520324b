"""Dictionary learning with iterative inference and an encoder that learns to predict its result.

One training step, for a batch X: predict codes E with the encoder; infer codes Z by the solver, started at and
coupled to the prediction (held constant); then

    decoder loss = mean |X - D(Z)|^2,    encoder loss = mean |Z - E|^2      (Z held constant)

Without an encoder the solver starts at zero (non-linear decoders: slightly above) and there is no coupling.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils import ranks
from skvardict._utils.modules import evaluating
from skvardict.energies import EnergyProblem, Penalty, VarianceHinge, mean_squared_error
from skvardict.functional import (
    LateAnswer,
    Weight,
    count_active,
    mean_and_std,
    number_like,
    numbers_like,
    pooled_r2,
    quadratic_error,
    stack_weights,
)
from skvardict.functional.graphs import evaluated
from skvardict.models import DictionaryModel
from skvardict.networks import LinearDecoder, constrain_atoms_, reconstruction_loss
from skvardict.objectives.groups import decoder_group, encoder_group
from skvardict.objectives.learning import Annealing, Replacement
from skvardict.objectives.recorded import may_be_recorded, recorded_step
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
    positive_dict : bool
        Whether atoms are held non-negative.
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
    replacement : Replacement or None
        Of atoms that codes do not use.
    """

    model: DictionaryModel
    batch_rows: float
    atom_norm: Weight | None
    weight_decay: float = 0.0
    positive_dict: bool = False
    solver: Any = None
    tracks: bool = False
    gives_statistics: bool = False
    annealing: Annealing | None = None
    target: TargetSparsity | None = None
    replacement: Replacement | None = None

    def __post_init__(self):
        self._penalty: Penalty | None = None  # of the next step; None is the model's
        self._atoms: Tensor | None = None  # before the step
        self._position: Position | None = None
        self._batch: tuple[Tensor, Tensor, torch.Generator] | None = None  # rows, codes

    @property
    def is_comparable(self) -> bool:
        """Whether validation energies of epochs have the same weights."""
        return self.target is None

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        return self.model.modules()

    def state(self) -> dict[str, Tensor]:
        """Return what else changes in training, by name."""
        return {} if self.replacement is None else {"idle": self.replacement.idle}

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the trained tensors of decoder and encoder."""
        atom_norm = None if self.atom_norm is None else float(self.atom_norm)
        groups = [decoder_group(self.model.decoder, self.weight_decay, atom_norm, positive=self.positive_dict)]
        return groups if self.model.encoder is None else [*groups, encoder_group(self.model.encoder)]

    def advance_to(self, position: Position) -> None:
        """Set the weight of the penalty, and remember the atoms that the encoder will follow."""
        self._position = position
        if self.annealing is not None:
            alpha, like = self.alpha_at(position), next(self.model.decoder.parameters())
            # Numbers are part of what a GPU is told once and replays; tensors may change.
            self._penalty = self.model.penalty.with_alpha(number_like(alpha, like) if like.is_cuda else alpha)
        self._remember_atoms()

    def alpha_at(self, position: Position) -> float:
        """Return the weight of the penalty in the step at a position."""
        alpha = float(self.model.fitted_penalty.alpha)
        return alpha if self.annealing is None else self.annealing(alpha, position)

    def _remember_atoms(self) -> None:
        if self.tracks:
            self._atoms = self.model.decoder.components.detach().clone()  # type: ignore[operator]

    def constrain_(self) -> None:
        """Put the decoder back on its constraint set, and the encoder where the atoms have gone."""
        if self.atom_norm is not None or self.positive_dict:
            matrices = self.model.decoder.atom_matrices()  # type: ignore[operator]
            constrain_atoms_(matrices, self.atom_norm, positive=self.positive_dict)
        if self._atoms is not None and self.model.encoder is not None:
            self.model.encoder.follow_(self._atoms, self.model.decoder.components.detach())  # type: ignore[operator]
        if self.replacement is not None and self._position is not None and self._batch is not None:
            self._replace(self._position, *self._batch)

    def _replace(self, position: Position, X: Tensor, codes: Tensor, generator: torch.Generator) -> None:
        if self.replacement is not None:
            norm = None if self.atom_norm is None else float(self.atom_norm)
            self.replacement.replace_(position, X, codes, generator, norm, self.positive_dict)

    def step(self, X: Tensor, generator: torch.Generator) -> Step:
        """Return the losses of a batch, ready for one backward pass, and sums for the history.

        On a GPU all before and all behind the solver's iterations is one launch each: gradients are then made here.
        """
        is_recorded = self._may_be_recorded(X)
        prediction = None if is_recorded else self._predict(X)
        target, result = self._infer_recorded(X) if is_recorded else self._infer(X, prediction)
        codes = result.codes
        if self.target is not None and self.model.tuned is not None:
            own = ((codes if target is None else target) == 0).mean((-2, -1), dtype=codes.dtype)
            zeros = ranks.all_mean(own, X.shape[-2])
            self.model.tuned.move_(self.target.rate * (self.target.target - zeros))
        if self.replacement is not None:
            self.replacement.count(codes)
            self._batch = X, codes, generator
        if not is_recorded:
            return self._made(prediction, result, X)
        parts = (self._bare, result.codes, result.n_iter, result.converged, X)
        return recorded_step(_step_of, parts, self.modules().values())

    def _made(self, prediction: Tensor | None, result: SolverResult, X: Tensor) -> Step:
        """Return losses, sums and statistics of codes, with the encoder's prediction, which may have a gradient."""
        statistics = self._statistics(result.codes, X) if self.gives_statistics else None
        losses = {"decoder": self._decoder_loss(result.codes, X, statistics)}
        if prediction is not None:
            losses["encoder"] = mean_squared_error(prediction, result.codes)
        target = None if prediction is None else prediction.detach()
        return Step(losses, self._sums(result, losses, target), statistics)

    def _infer(self, X: Tensor, prediction: Tensor | None) -> tuple[Tensor | None, SolverResult]:
        """Return the prediction as the constant that codes are held to, and the solver's result."""
        target = None if prediction is None else prediction.detach()
        return target, self.model.solve(X, target, in_training=True, penalty=self._penalty, solver=self.solver)

    def _infer_recorded(self, X: Tensor) -> tuple[Tensor | None, SolverResult]:
        if not isinstance(self.model.decoder, LinearDecoder):  # others remember more from batch to batch
            with torch.no_grad():
                return self._infer(X, self._predict(X))
        target, problem = evaluated(_pose, (self._bare, self._penalty, X), "pose")
        return target, self.model.solve_posed(problem, target, self.solver)

    def _predict(self, X: Tensor) -> Tensor | None:
        return None if self.model.encoder is None else self.model.encoder(X)

    def _may_be_recorded(self, X: Tensor) -> bool:
        return may_be_recorded(X, self.modules().values())

    @cached_property
    def _bare(self) -> "DictionaryObjective":
        """The objective without what belongs to a run: the part that a recording knows."""
        model = replace(self.model, solver=None)  # type: ignore[arg-type]
        return DictionaryObjective(
            model, self.batch_rows, None, solver=self.solver, gives_statistics=self.gives_statistics
        )

    def _statistics(self, codes: Tensor, X: Tensor) -> Statistics:
        return Statistics(codes, codes.mT @ codes, codes.mT @ X)

    def _decoder_loss(self, codes: Tensor, X: Tensor, statistics: Statistics | None) -> Tensor:
        if statistics is None:
            return reconstruction_loss(self.model.decoder, codes, X)
        atoms = self.model.decoder.components.detach()  # type: ignore[operator]
        size_sq = torch.linalg.vector_norm(X, dim=(-2, -1)).square()
        error = size_sq + quadratic_error(atoms, statistics.gram, statistics.cross)
        return error.clamp_min(0) / (X.shape[-2] * X.shape[-1])

    @torch.no_grad()
    def evaluate(self, X: Tensor) -> Sums:
        """Return sums over a validation batch, of the encoder's codes; without an encoder, of the solver's."""
        with evaluating(self.model.decoder, self.model.encoder):
            codes = self.model.infer(X).codes if self.model.encoder is None else self.model.encoder(X)
            error = self.model.reconstruction(X, codes)
        return {
            "n_rows": X.shape[-2],
            "n_batches": ranks.share(X.shape[-2]),
            "hinge": ranks.counted_once(self.model.hinge.measure(codes), X.shape[-2]),
            "reconstruction": error.sum(-1),
            "log10_error": error.log10().sum(-1),
            "square_sum": X.square().sum(-2),
            "row_sum": X.sum(-2),
            "l1": codes.abs().sum((-2, -1)),
            "penalty": self.model.penalty.total(codes),
            "n_nonzero": torch.count_nonzero(codes, dim=(-2, -1)),
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
            **({} if self.target is None else {"alpha": float(self.model.fitted_penalty.alpha)}),
            "reconstruction": per_row["reconstruction"],
            "l1": per_row["l1"],
            "hinge": hinge,
            "coupling": per_row["coupling"],
            "sparsity": 1 - float(n_active.sum()) / (n_rows * len(n_active)),
            "n_dead": int((n_active == 0).sum()),
            **({} if self.model.encoder is None else {"n_dead_encoder": int((sums["n_predicted"] == 0).sum())}),
            "component_std": float(sums["std"]) / n_batches,
            "solver_n_iter": per_row["n_iter"],
            "solver_n_unconverged": int(sums["n_unconverged"]),
            **({} if self.replacement is None else {"n_replaced": self.replacement.report()}),
        }

    @torch.no_grad()
    def _sums(self, result: SolverResult, losses: dict[str, Tensor], prediction: Tensor | None) -> Sums:
        codes, penalty = result.codes, self.model.penalty
        n_rows = codes.shape[-2]
        _, std = mean_and_std(codes)
        l1 = codes.abs().sum((-2, -1))
        return {
            "n_rows": n_rows,
            "n_batches": ranks.share(n_rows),
            "reconstruction": losses["decoder"].detach() * n_rows,
            "coupling": losses["encoder"].detach() * n_rows if "encoder" in losses else 0.0,
            "l1": l1,
            "penalty": l1 if penalty.name == "l1" else penalty.total(codes),
            "hinge": ranks.counted_once(self.model.hinge.measure_of_std(std), n_rows),
            "std": ranks.counted_once(std.mean((-2, -1)), n_rows),
            "n_active": count_active(codes),
            **({} if prediction is None else {"n_predicted": count_active(prediction)}),
            "n_iter": result.n_iter.sum(-1),
            # A solver of few iterations is not meant to converge.
            "n_unconverged": torch.count_nonzero(~result.converged, dim=-1) if self.solver is None else 0,
        }

    def together(
        self,
        members: Sequence["DictionaryObjective"],
        modules: Mapping[str, nn.Module],
        state: Mapping[str, Tensor],
    ) -> "DictionaryObjective":
        """Return the objective of several models as one; `modules` and `state` are theirs, along a first axis."""
        like = next(modules["decoder"].parameters())
        models = [member.model for member in members]
        hinge = VarianceHinge(
            stack_weights([model.hinge.beta for model in models], like),
            stack_weights([model.hinge.std_threshold for model in models], like),
        )
        model = replace(
            self.model,
            decoder=modules["decoder"],
            encoder=modules.get("encoder"),
            tuned=modules.get("penalty"),  # type: ignore[arg-type]
            penalty=self.model.penalty.with_alpha(stack_weights([model.penalty.alpha for model in models], like)),
            hinge=hinge,
            gamma=stack_weights([model.gamma for model in models], like),
        )
        norms = [member.atom_norm for member in members]
        atom_norm = None if self.atom_norm is None else stack_weights(norms, like)
        targets = [member.target for member in members if member.target is not None]
        own = {field.name: getattr(self, field.name) for field in fields(DictionaryObjective)}
        own |= {"model": model, "atom_norm": atom_norm, "target": _stack_targets(targets, like) if targets else None}
        if self.replacement is not None:
            own["replacement"] = self.replacement.together(model, state["idle"])
        return _ObjectivesTogether(**own, members=members)


@dataclass
class _ObjectivesTogether(DictionaryObjective):
    """Objectives that differ in their weights, computed as one; every one of them is at a position of its own."""

    members: Sequence[DictionaryObjective] = ()

    def __post_init__(self):
        super().__post_init__()
        self._alphas: list[float] = []  # of the last step
        self._has_dead = LateAnswer()

    def advance_to(self, position: Any) -> None:
        """Set the weights of the penalties at the positions of the members."""
        self._position = position
        if self.annealing is not None:
            before, alphas = self._alphas, [m.alpha_at(at) for m, at in zip(self.members, position, strict=True)]
            if alphas != before:
                self._alphas = alphas
                self._penalty = self.model.penalty.with_alpha(stack_weights(alphas, self._like()))
        self._remember_atoms()

    def _replace(self, position: Any, X: Tensor, codes: Tensor, generator: Any) -> None:
        if self.replacement is not None:
            have_dead = self.replacement.have_dead().flatten()
            for index in have_dead.nonzero().flatten().tolist() if self._has_dead(have_dead.any()) else ():
                self.members[index]._replace(position[index], X[index], codes[index], generator[index])

    def _like(self) -> Tensor:
        return next(self.model.decoder.parameters())


def _pose(objective: DictionaryObjective, penalty: Penalty | None, X: Tensor) -> tuple[Tensor | None, EnergyProblem]:
    """Return the encoder's codes and the inference problem of a batch."""
    with torch.no_grad():
        prediction = objective._predict(X)
        return prediction, objective.model.problem(X, prediction, in_training=True, penalty=penalty)


def _step_of(objective: DictionaryObjective, codes: Tensor, n_iter: Tensor, converged: Tensor, X: Tensor) -> Step:
    """Return losses, sums and statistics of a batch whose codes are known."""
    result = SolverResult(codes, n_iter, converged, None)  # type: ignore[arg-type]
    return objective._made(objective._predict(X), result, X)


def _stack_targets(targets: Sequence[TargetSparsity], like: Tensor) -> TargetSparsity:
    """Return a target whose settings are one number per model, (m,)."""
    settings: dict[str, Any] = {
        name: numbers_like([getattr(target, name) for target in targets], like) for name in ("target", "rate")
    }
    return TargetSparsity(**settings)
