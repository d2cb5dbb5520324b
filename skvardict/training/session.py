"""Everything that changes during training, and its way to arrays and back.

The arrays are plain numpy: they pickle, copy and load on any machine. Reading copies them into fresh tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.functional import to_host
from skvardict.training.early_stopping import EarlyStopping
from skvardict.training.history import History
from skvardict.training.protocol import Objective, Position

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class TrainingPlan:
    """Settings of a run.

    Parameters
    ----------
    batch_size : int
        Rows per batch at most; batches of an epoch differ by at most one row.
    max_epochs : int
    early_stopping : EarlyStopping or None
        When epochs without an improvement end the run.
    schedule_epochs : int or None
        Epochs over which schedules reach; None: `max_epochs`.
    n_steps : int or None
        Steps that they make, where the number of rows is known.
    """

    batch_size: int
    max_epochs: int
    early_stopping: EarlyStopping | None = None
    schedule_epochs: int | None = None
    n_steps: int | None = None

    @property
    def n_scheduled(self) -> int:
        """Epochs over which schedules reach."""
        return self.max_epochs if self.schedule_epochs is None else self.schedule_epochs


@dataclass
class TrainingSession:
    """An objective with its optimiser, generator and counters.

    Parameters
    ----------
    objective : Objective
    optimizer : Adam, SGD or another part with ``start``
    generator : torch.Generator
        Source of all randomness of the run; on the CPU, so that a run does not depend on the device.
    kept : tuple (parameters as arrays, epoch) or None
        What a continued run was left with: the state that was best, and its epoch.
    draws_globally : bool
        Whether parts may draw from torch's global generators (dropout in networks of the user): during a step these
        are seeded from `generator`, and restored afterwards.
    """

    objective: Objective
    optimizer: Any
    generator: torch.Generator
    n_epochs: int = 0
    n_steps: int = 0
    history: History = field(default_factory=dict)
    kept: tuple[Arrays, int] | None = None
    draws_globally: bool = False

    def __post_init__(self):
        self.steps = self.optimizer.start(self.objective.parameter_groups())

    def advance(self, fraction: float, n_epochs: int) -> None:
        """Set schedules and warm-ups of the step that is about to begin, `fraction` of the epoch being done."""
        position = Position(self.n_steps, self.n_epochs + fraction, n_epochs)
        self.objective.advance_to(position)
        self.steps.advance(position)

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
        arrays |= {f"optimizer.{name}": array for name, array in self.steps.to_arrays().items()}
        arrays |= {f"objective.{name}": array for name, array in to_numpy(self.objective.state()).items()}
        arrays["generator"] = self.generator.get_state().numpy().copy()
        arrays["counters"] = np.array([self.n_epochs, self.n_steps])
        return arrays

    def to_common_arrays(self) -> Arrays:
        """Return the state; where several processes train together, that of the first, which all then have.

        Machines that round differently do not drift apart so, and buffers that follow a process's own rows agree.
        """
        if ranks.current() is None:
            return self.to_arrays()
        arrays = ranks.from_first(self.to_arrays)
        self.load_arrays(arrays)
        return arrays

    def load_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Continue from what `to_arrays` returned.

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
        prefix = "optimizer."
        moments = {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
        self.steps.load_arrays(moments)
        for name, tensor in self.objective.state().items():
            array = arrays.get(f"objective.{name}")  # a run that had none begins at zero
            tensor.zero_() if array is None else tensor.copy_(torch.from_numpy(np.array(array)))
        self.generator.set_state(torch.from_numpy(np.array(arrays["generator"])))
        self.n_epochs, self.n_steps = (int(value) for value in arrays["counters"])

    def _check_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        required = {f"params.{name}": tuple(tensor.shape) for name, tensor in self._named_tensors()}
        required |= {"generator": tuple(self.generator.get_state().shape), "counters": (2,)}
        optional = {f"objective.{name}": tuple(tensor.shape) for name, tensor in self.objective.state().items()}
        always, *moments = [
            {f"optimizer.{name}": shape for name, shape in state.items()} for state in self.steps.state_shapes()
        ]
        required |= always
        for shapes in moments:  # the first step of a parameter makes all of its
            (required if shapes.keys() & arrays.keys() else optional).update(shapes)
        missing = required.keys() - arrays.keys()
        if missing:
            raise ValueError(f"The training state lacks {sorted(missing)}; it belongs to another model. Fit anew.")
        for name, array in arrays.items():
            if name.startswith("objective.") and name not in optional:
                continue  # what only other ways of training keep
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
    return {name: tensor.detach().numpy().copy() for name, tensor in to_host(snapshot).items()}
