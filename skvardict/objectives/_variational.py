"""What the objectives of variational models share: parts, constraints, the step of a dictionary, the history."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from skvardict.functional import Weight, per_batch, pooled_r2, schatten_bound, stack_weights
from skvardict.models import VariationalModel
from skvardict.models.variational import VariationalModelsTogether
from skvardict.networks import constrain_atoms_
from skvardict.objectives.groups import decoder_group, encoder_group
from skvardict.training.protocol import ParameterGroup, Position, Step, Sums

_COLLAPSED_KL = 1e-2  # nats, per component and row, on average


class _ScaledGradient(torch.autograd.Function):
    @staticmethod
    def forward(ctx, value: Tensor, factor: Tensor) -> Tensor:
        ctx.save_for_backward(factor)
        return value.view_as(value)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        return grad_output * ctx.saved_tensors[0][..., None, None], None


@dataclass
class BaseVariationalObjective(ABC):
    """Base of the objectives of variational models.

    Parameters
    ----------
    model : VariationalModel
    atom_norm : float or None
    dictionary_learning_rate : float or None
        Step eta of a linear dictionary, ``A += eta mean(r z^T)``, limited to the inverse of the largest eigenvalue of
        ``mean(z z^T)`` over the batch, beyond which it may diverge; None: steps are not limited.
    """

    model: VariationalModel
    _: KW_ONLY
    atom_norm: Weight | None = None
    dictionary_learning_rate: Weight | None = None

    @property
    def is_comparable(self) -> bool:
        """Whether validation energies of epochs have the same weights."""
        return self.model.noise is None

    def modules(self) -> dict[str, nn.Module]:
        """Return the parts that are trained and saved, by name."""
        return self.model.modules()

    def state(self) -> dict[str, Tensor]:
        """Return what else changes in training: nothing."""
        return {}

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the trained tensors of encoder and decoder."""
        return [encoder_group(self.model.encoder), decoder_group(self.model.decoder)]

    def advance_to(self, position: Position) -> None:  # noqa: B027
        """Set what is warmed up: nothing."""

    def constrain_(self) -> None:
        """Put the atoms back to their norm."""
        if self.atom_norm is not None:
            constrain_atoms_(self.model.decoder.atom_matrices(), self.atom_norm)  # type: ignore[operator]

    @abstractmethod
    def step(self, X: Tensor, generator: torch.Generator) -> Step:
        """Return the losses of a batch, ready for one backward pass, and sums for the history."""

    @abstractmethod
    def evaluate(self, X: Tensor) -> Sums:
        """Return sums over a validation batch."""

    def summarize(self, sums: Sums, *, validation: bool) -> dict[str, float]:
        """Return the history entries of an epoch, per row, in the units of the package."""
        n_rows = float(sums["n_rows"])
        means = self._means(sums, n_rows)
        weights = {name: float(weight) for name, weight in self.model.weights.items()}
        energy = means["reconstruction"] + sum(weight * means[name] for name, weight in weights.items())
        if not validation:
            learnt = {} if self.model.noise is None else {"kl_weight": weights["kl"]}
            return {"energy": energy, **means, **learnt, **self._entries(sums)}
        mean_error = float(sums["mean_reconstruction"])
        return {
            "validation_energy": energy,
            **{f"validation_{name}": value for name, value in means.items()},
            "validation_mean_reconstruction": mean_error / n_rows,
            "validation_r2": pooled_r2(mean_error, sums["square_sum"], sums["row_sum"], n_rows),
            "validation_sparsity": self._sparsity(sums),
            "validation_n_collapsed": int((sums["kl_by_component"] / n_rows <= _COLLAPSED_KL).sum()),
        }

    def _means(self, sums: Sums, n_rows: float) -> dict[str, float]:
        """Return the terms of the energy per row, without their weights."""
        return {name: float(sums[name]) / n_rows for name in ("reconstruction", *self.model.weights)}

    @abstractmethod
    def _entries(self, sums: Sums) -> dict[str, float]:
        """Return what else the history has of a training epoch."""

    @abstractmethod
    def _sparsity(self, sums: Sums) -> float:
        """Return the share of zeros."""

    @abstractmethod
    def together(
        self, members: Sequence[Any], modules: Mapping[str, nn.Module], state: Mapping[str, Tensor]
    ) -> "BaseVariationalObjective":
        """Return the objective of several models as one; `modules` hold their parameters along a first axis."""

    def _together(self, members: Sequence[Any], modules: Mapping[str, nn.Module]) -> dict[str, Any]:
        """Return the fields of the objective of several models."""
        like = next(modules["decoder"].parameters())
        own = {field.name: getattr(self.model, field.name) for field in fields(VariationalModel)}
        own |= modules
        own["kl_weights"] = {
            name: stack_weights([member.model.kl_weights[name] for member in members], like)
            for name in self.model.kl_weights
        }
        stacked = {
            name: None if getattr(self, name) is None else stack_weights([getattr(m, name) for m in members], like)
            for name in ("atom_norm", "dictionary_learning_rate")
        }
        return {
            **{field.name: getattr(self, field.name) for field in fields(self)},
            **stacked,
            "model": VariationalModelsTogether(**own),
        }

    def _limited(self, atoms: Tensor, second_moment: Tensor, n_codes: int) -> Tensor:
        """Return atoms whose gradient is so much smaller that the step on them cannot diverge.

        Parameters
        ----------
        atoms : Tensor of shape (..., l, d)
        second_moment : Tensor of shape (..., k, k)
            ``Z^T Z`` or, of the same largest eigenvalue, ``Z Z^T``, for all codes Z of the batch.
        n_codes : int
            Rows of Z.
        """
        rate = per_batch(self.dictionary_learning_rate)  # type: ignore[arg-type]
        curvature = schatten_bound(second_moment) * (rate / n_codes)
        return _ScaledGradient.apply(atoms, 1 / curvature.clamp_min(1))
