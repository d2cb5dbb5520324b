"""What the loop asks of an objective."""

from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


class Position(NamedTuple):
    """How far training has come.

    Attributes
    ----------
    step : int
        Steps made, over the whole session.
    epoch : float
        Epochs made, with the fraction of the present one.
    """

    step: int
    epoch: float


class Objective(Protocol):
    """One batch to named losses; the loop does backward, step, constrain.

    Attributes
    ----------
    model : object
        The trained parts, and what they make of rows; the loop does not look into it.
    optimizer : {"adam", "sgd"}
        What steps the groups; a group may carry further settings of it (``momentum``, ``nesterov``, ``betas``).
    """

    model: Any
    optimizer: str

    def modules(self) -> dict[str, nn.Module]:
        """Return the trained parts by name; their tensors are what is saved."""

    def parameter_groups(self) -> list[dict]:
        """Return optimiser groups: ``params``, ``lr``, ``weight_decay``.

        ``decays=False`` exempts from the decay per epoch; ``schedule``, a function of :class:`Position`, is a factor
        of the rate that is set before every step; ``max_grad_norm`` bounds the gradient of the group.
        """

    def advance_to(self, position: Position) -> None:
        """Set what the objective warms up by itself; called before every step."""

    def step(self, X: Tensor, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Return the losses of a training batch, and tensors that the loop sums over the epoch."""

    def evaluate(self, X: Tensor) -> dict[str, Tensor]:
        """Return tensors that the loop sums over the validation batches."""

    def summarize(self, sums: dict[str, Tensor], *, validation: bool) -> dict[str, float]:
        """Return history entries from the sums of an epoch; "energy" is one, or "validation_energy"."""

    def constrain_(self) -> None:
        """Put parameters back on their constraint set, in place; called after every step."""
