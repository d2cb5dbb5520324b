"""What the loop asks of an objective."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

Sums = dict[str, Any]  # by name: tensors on the device, or numbers that are known without it


def add_sums(sums: Sums, terms: Sums) -> None:
    """Add the terms of another batch to the sums; tensors of one type in one call.

    Terms are copied: those of a GPU may be in memory that the next batch uses again.
    """
    old = {name: term for name, term in terms.items() if name in sums}
    for kind in {getattr(term, "dtype", None) for term in old.values()}:
        some = {name: term for name, term in old.items() if getattr(term, "dtype", None) == kind}
        if kind is None:
            sums.update({name: sums[name] + term for name, term in some.items()})
        else:
            added = torch._foreach_add([sums[name] for name in some], list(some.values()))
            sums.update(zip(some, added, strict=True))
    new = {name: term for name, term in terms.items() if name not in old}
    sums.update({name: term.clone() if isinstance(term, Tensor) else term for name, term in new.items()})


class Position(NamedTuple):
    """How far training has come.

    Attributes
    ----------
    step : int
        Steps made, over the whole session.
    epoch : float
        Epochs made, with the fraction of the present one.
    n_epochs : int
        Epochs planned.
    """

    step: int
    epoch: float
    n_epochs: int


class Statistics(NamedTuple):
    """What a batch of codes Z of rows X tells about the atoms of a linear decoder.

    Attributes
    ----------
    codes : Tensor of shape (n, l)
    gram : Tensor of shape (l, l)
        ``Z^T Z``.
    cross : Tensor of shape (l, d)
        ``Z^T X``.
    """

    codes: Tensor
    gram: Tensor
    cross: Tensor


class Step(NamedTuple):
    """What an objective makes of a batch.

    Attributes
    ----------
    losses : dict of Tensor
        Their sum is what gradient optimisers go down.
    sums : dict of Tensor and float
        What the loop sums over the epoch.
    statistics : Statistics or None
        For optimisers that work from them.
    """

    losses: dict[str, Tensor]
    sums: Sums
    statistics: Statistics | None = None


@dataclass(frozen=True)
class ParameterGroup:
    """The trained tensors of one part of a model.

    Attributes
    ----------
    part : {"decoder", "encoder"}
    parameters : dict of Tensor
        By name; biases have "bias" in theirs.
    weight_decay : float
        What the model itself adds to the decay of the part's weights.
    is_dictionary : bool
        Whether the part is one matrix of atoms.
    atom_norm : float or None
        Norm that its atoms are held at.
    positive : bool
        Whether its atoms are held non-negative.
    """

    part: str
    parameters: dict[str, Tensor]
    weight_decay: float = 0.0
    is_dictionary: bool = False
    atom_norm: float | None = None
    positive: bool = False


class Objective(Protocol):
    """One batch to named losses; the loop does backward, step, constrain.

    Attributes
    ----------
    model : object
        The trained parts, and what they make of rows; the loop does not look into it.
    is_comparable : bool
        Whether validation energies of epochs have the same weights. If not, the last epoch counts as the best.
    """

    model: Any

    @property
    def is_comparable(self) -> bool: ...  # noqa: D102

    def modules(self) -> dict[str, nn.Module]:
        """Return the trained parts by name; their tensors are what is saved."""

    def state(self) -> dict[str, Tensor]:
        """Return what else changes in training and a resumed run has to know, by name; it is set in place."""

    def parameter_groups(self) -> list[ParameterGroup]:
        """Return the trained tensors, part by part."""

    def advance_to(self, position: Position) -> None:
        """Set what the objective warms up by itself; called before every step."""

    def step(self, X: Tensor, generator: torch.Generator) -> Step:
        """Return losses, monitored sums and codes of a training batch."""

    def evaluate(self, X: Tensor) -> Sums:
        """Return tensors that the loop sums over the validation batches."""

    def summarize(self, sums: Sums, *, validation: bool) -> dict[str, float]:
        """Return history entries from the sums of an epoch; "energy" is one, or "validation_energy"."""

    def together(self, members: Sequence[Any], modules: Mapping[str, nn.Module], state: Mapping[str, Tensor]) -> Any:
        """Return the objective of `members`, this being the first, as one; parameters and state are theirs, stacked.

        Its ``step`` and ``evaluate`` take rows (m, n, d) and, for drawing, a generator each, and return losses and sums
        with the members along a first axis (sums of shape () are those of every member). Its ``advance_to`` takes a
        position each. The sum of the losses is what is minimised, so that no member feels another.
        """

    def constrain_(self) -> None:
        """Put parameters back on their constraint set, in place; called after every step."""
