"""Tensors of several sessions, one behind another along a first axis.

Matrices become (m, a, b), vectors (m, 1, a) and numbers (m, 1, 1), so that they broadcast against rows (m, n, a). The
sessions keep tensors of their own shapes, which are views into the stack: whatever happens to it happens to them.
"""

from collections.abc import Mapping, Sequence
from copy import deepcopy
from itertools import groupby
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from skvardict.functional import to_device, to_host
from skvardict.training.session import TrainingSession


class Neighbours(NamedTuple):
    """Members next to each other in a stack, trained as one.

    Attributes
    ----------
    where : slice
        Their place in the stack.
    objective : Objective
        Of all of them.
    steps : GradientSteps or OnlineSteps
    """

    where: slice
    objective: Any
    steps: Any


class Stack:
    """Sessions of one architecture whose parameters and optimiser states lie in common tensors.

    Parameters
    ----------
    sessions : sequence of TrainingSession
        Their tensors become views of the common ones.
    """

    def __init__(self, sessions: Sequence[TrainingSession]):
        self.sessions = list(sessions)
        self._own = [_tensors_of(session) for session in sessions]
        self.tensors = {name: _stack([own[name] for own in self._own]) for name in self._own[0]}
        self._lend_all()

    def neighbours(self, values: Sequence[Any]) -> list[Neighbours]:
        """Return runs of members that have the same value."""
        positions = [list(group) for _, group in groupby(range(len(values)), key=values.__getitem__)]
        return [self._of(slice(run[0], run[-1] + 1)) for run in positions]

    def snapshot(self) -> dict[str, Tensor]:
        """Return a copy of all tensors."""
        return {name: tensor.clone() for name, tensor in self.tensors.items()}

    def are_finite(self) -> list[bool]:
        """Return whether all numbers of each member are finite."""
        finite = to_host({name: tensor.isfinite().flatten(1).all(1) for name, tensor in self.tensors.items()})
        return torch.stack(list(finite.values())).all(0).tolist()

    def decoder_norms(self) -> list[float]:
        """Return the norm of all weights of the decoder together, for each member."""
        names = [f"decoder.{name}" for name, _ in self.sessions[0].objective.modules()["decoder"].named_parameters()]
        norms = [torch.linalg.vector_norm(self.tensors[name].flatten(1), dim=1) for name in names]
        return torch.stack(norms).square().sum(0).sqrt().tolist()

    @torch.no_grad()
    def restore(self, index: int, snapshot: Mapping[str, Tensor]) -> None:
        """Copy the tensors of one member back."""
        for name, tensor in self.tensors.items():
            tensor[index].copy_(snapshot[name][index])

    def keep(self, indices: Sequence[int]) -> None:
        """Let the other members go; what they hold then belongs to them alone."""
        for index in set(range(len(self.sessions))) - set(indices):
            self._lend(index, copy=True)
        self.sessions = [self.sessions[index] for index in indices]
        self._own = [self._own[index] for index in indices]
        kept = torch.tensor(indices, dtype=torch.long)
        self.tensors = {
            name: tensor.index_select(0, to_device(kept, tensor.device)) for name, tensor in self.tensors.items()
        }
        self._lend_all()

    def _lend_all(self) -> None:
        for index in range(len(self.sessions)):
            self._lend(index)
        self._made: dict[tuple[int, int], Neighbours] = {}

    def _lend(self, index: int, *, copy: bool = False) -> None:
        """Let the tensors of a member be views of the common ones, or copies."""
        for name, tensor in self._own[index].items():
            common = self.tensors[name][index].reshape(tensor.shape)
            tensor.data = common.clone() if copy else common

    def _of(self, where: slice) -> Neighbours:
        key = (where.start, where.stop)
        if key not in self._made:
            self._made[key] = self._make(where)
        return self._made[key]

    def _make(self, where: slice) -> Neighbours:
        members = self.sessions[where]
        first = members[0].objective
        modules = {part: self._module(part, module, where) for part, module in first.modules().items()}
        state = {name: self.tensors[f"objective.{name}"][where] for name in first.state()}
        objective = first.together([member.objective for member in members], modules, state)
        names = {id(tensor): name for name, tensor in members[0]._named_tensors()}
        leaves = {
            f"{part}.{name}": leaf for part, module in modules.items() for name, leaf in module.named_parameters()
        }
        moments = {name: self.tensors[name][where] for name in members[0].steps.moments()}
        steps = members[0].steps.together(
            [member.steps for member in members], lambda tensor: leaves[names[id(tensor)]], moments
        )
        return Neighbours(where, objective, steps)

    def _module(self, part: str, module: nn.Module, where: slice) -> nn.Module:
        """Return a module like `module` on the tensors of several members, its parameters being leaves."""
        several = deepcopy(module)
        for name, tensor in module.state_dict(keep_vars=True).items():
            path, _, last = name.rpartition(".")
            owner, values = several.get_submodule(path), self.tensors[f"{part}.{name}"][where]
            # Not by setattr: in lists of parameters names are numbers.
            if isinstance(tensor, nn.Parameter):
                owner._parameters[last] = nn.Parameter(values, requires_grad=tensor.requires_grad)
            else:
                owner._buffers[last] = values
        return several


def _tensors_of(session: TrainingSession) -> dict[str, Tensor]:
    state = {f"objective.{name}": tensor for name, tensor in session.objective.state().items()}
    return {**dict(session._named_tensors()), **session.steps.moments(), **state}


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    stacked = torch.stack([tensor.detach() for tensor in tensors])
    return stacked.reshape(len(tensors), *(1,) * (3 - stacked.dim()), *stacked.shape[1:])
