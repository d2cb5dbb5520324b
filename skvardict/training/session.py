"""Everything that changes during training, and its way to arrays and back.

The arrays are plain numpy: they pickle, copy and load on any machine. Reading copies them into fresh tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvardict.training.history import History
from skvardict.training.protocol import Objective, Position

Arrays = dict[str, np.ndarray]

_OPTIMIZERS = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}
_OPTIMIZER_STATE = {"adam": ("step", "exp_avg", "exp_avg_sq"), "sgd": ("momentum_buffer",)}


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a run.

    Parameters
    ----------
    batch_size : int
        Rows per batch at most; batches of an epoch differ by at most one row.
    max_epochs : int
    early_stopping : bool
        Whether `n_iter_no_change` epochs without a relative improvement of `tol` end the run.
    learning_rate_decay : tuple (factor, every) or None
        Multiply the learning rates of the groups marked ``decays`` by `factor` after every `every` epochs.
    """

    batch_size: int
    max_epochs: int
    early_stopping: bool = True
    n_iter_no_change: int = 10
    tol: float = 1e-4
    learning_rate_decay: tuple[float, int] | None = None


@dataclass
class TrainingSession:
    """An objective with its optimiser, generator and counters.

    Parameters
    ----------
    objective : Objective
    generator : torch.Generator
        Source of all randomness of the run; on the CPU, so that a run does not depend on the device.
    kept : tuple (parameters as arrays, epoch) or None
        What a continued run was left with: the state that was best, and its epoch.
    draws_globally : bool
        Whether parts may draw from torch's global generators (dropout in networks of the user): during a step these
        are seeded from `generator`, and restored afterwards.
    """

    objective: Objective
    generator: torch.Generator
    n_epochs: int = 0
    n_steps: int = 0
    history: History = field(default_factory=dict)
    kept: tuple[Arrays, int] | None = None
    draws_globally: bool = False

    def __post_init__(self):
        self.optimizer = _OPTIMIZERS[self.objective.optimizer](self.objective.parameter_groups(), fused=True)
        for group in self.optimizer.param_groups:
            group.setdefault("initial_lr", group["lr"])

    def set_learning_rates(self, plan: TrainingPlan) -> None:
        """Set the learning rates of the epoch that is about to begin."""
        if plan.learning_rate_decay is None:
            return
        factor, every = plan.learning_rate_decay
        for group in self.optimizer.param_groups:
            if group.get("decays", True):
                group["lr"] = group["initial_lr"] * factor ** (self.n_epochs // every)

    def advance(self, fraction: float) -> None:
        """Set schedules and warm-ups of the step that is about to begin, `fraction` of the epoch being done."""
        position = Position(self.n_steps, self.n_epochs + fraction)
        self.objective.advance_to(position)
        for group in self.optimizer.param_groups:
            if "schedule" in group:
                group["lr"] = group["initial_lr"] * group["schedule"](position)

    def clip_gradients(self) -> None:
        """Scale the gradient of every group with a ``max_grad_norm`` down to that norm where it is longer."""
        for group in self.optimizer.param_groups:
            if group.get("max_grad_norm") is not None:
                torch.nn.utils.clip_grad_norm_(group["params"], group["max_grad_norm"])

    def decoder_norm(self) -> float:
        """Return the norm of all weights of the decoder together."""
        weights = [weight.detach() for weight in self.objective.modules()["decoder"].parameters()]
        norms = [torch.linalg.vector_norm(weight) for weight in weights]
        return float(torch.stack(norms).square().sum().sqrt()) if norms else 0.0

    def find_non_finite(self) -> str | None:
        """Return the name of a tensor that holds NaN or infinity, if there is one."""
        tensors = dict(self._named_tensors())
        finite = torch.stack([torch.isfinite(tensor).all() for tensor in tensors.values()]).tolist()
        return next((name for name, is_finite in zip(tensors, finite) if not is_finite), None)

    def cut_history(self) -> None:
        """Drop what was recorded after the last epoch that counts."""
        for column in self.history.values():
            del column[self.n_epochs :]

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of all parameters, on their device."""
        return {name: tensor.detach().clone() for name, tensor in self._named_tensors()}

    def load_snapshot(self, snapshot: Mapping[str, Tensor]) -> None:
        """Copy parameters back into the modules."""
        with torch.no_grad():
            for name, tensor in self._named_tensors():
                tensor.copy_(snapshot[name])

    def to_arrays(self) -> Arrays:
        """Return parameters, optimiser moments and generator as arrays."""
        arrays = {f"params.{name}": array for name, array in to_numpy(self.snapshot()).items()}
        for index, state in self.optimizer.state_dict()["state"].items():
            for name, value in state.items():
                if value is not None:  # the momentum of SGD without momentum
                    arrays[f"optimizer.{index}.{name}"] = value.detach().cpu().numpy().copy()
        arrays["generator"] = self.generator.get_state().numpy().copy()
        arrays["counters"] = np.array([self.n_epochs, self.n_steps])
        return arrays

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from what :meth:`to_arrays` returned.

        Raises
        ------
        ValueError
            If the arrays belong to a model of other shapes.
        """
        self._check_arrays(arrays)
        params = {
            name.removeprefix("params."): torch.from_numpy(np.array(array))
            for name, array in arrays.items()
            if name.startswith("params.")
        }
        self.load_snapshot(params)
        state: dict[int, dict[str, Any]] = {}
        for name, array in arrays.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                state.setdefault(int(index), {})[key] = torch.from_numpy(np.array(array))
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})
        self.generator.set_state(torch.from_numpy(np.array(arrays["generator"])))
        self.n_epochs, self.n_steps = (int(value) for value in arrays["counters"])

    def _check_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        required = {f"params.{name}": tuple(tensor.shape) for name, tensor in self._named_tensors()}
        required |= {"generator": tuple(self.generator.get_state().shape), "counters": (2,)}
        optional: dict[str, tuple[int, ...]] = {}
        stepped = [tensor for group in self.optimizer.param_groups for tensor in group["params"]]
        for index, tensor in enumerate(stepped):
            moments = {f"optimizer.{index}.{key}" for key in _OPTIMIZER_STATE[self.objective.optimizer]}
            shapes = {name: () if name.endswith(".step") else tuple(tensor.shape) for name in moments}
            # The first step makes all of them.
            (required if moments & arrays.keys() else optional).update(shapes)
        missing = required.keys() - arrays.keys()
        if missing:
            raise ValueError(f"The training state lacks {sorted(missing)}; it belongs to another model. Fit anew.")
        for name, array in arrays.items():
            shape = (required | optional).get(name)
            dtype = {"generator": np.uint8, "counters": np.int64}.get(name, array.dtype)
            if array.shape != shape or array.dtype != dtype:
                raise ValueError(
                    f"The training state holds {name} of {array.dtype} and shape {array.shape}, but the model has "
                    f"{'nothing of this name' if shape is None else shape}. It belongs to another model. Fit anew."
                )

    def _named_tensors(self):
        for part, module in self.objective.modules().items():
            for name, tensor in module.state_dict(keep_vars=True).items():
                yield f"{part}.{name}", tensor


def to_numpy(snapshot: Mapping[str, Tensor]) -> Arrays:
    """Return tensors as arrays that share no memory with them."""
    return {name: tensor.detach().cpu().numpy().copy() for name, tensor in snapshot.items()}
