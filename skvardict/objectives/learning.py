"""What an automatic fit does beside the steps of its optimiser: fewer inference steps, a penalty that begins high."""

from copy import copy
from dataclasses import dataclass

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.functional import LateAnswer, project_atoms
from skvardict.models import DictionaryModel
from skvardict.training.protocol import Position


@dataclass(frozen=True)
class Annealing:
    """An L1 weight that is held at `peak` first, then falls geometrically to its value.

    Sparse codes early on make atoms specialise; the value itself is what the model is fitted to.

    Parameters
    ----------
    peak : float
    hold, end : float
        Fractions of training at which the fall begins and ends.
    """

    peak: float
    hold: float = 0.25
    end: float = 0.45

    def __call__(self, alpha: float, position: Position) -> float:
        """Return the weight at a position, for a final one of `alpha`."""
        if self.peak <= alpha or alpha == 0:
            return alpha
        fraction = (position.epoch % position.n_epochs) / position.n_epochs
        left = min(max((self.end - fraction) / (self.end - self.hold), 0.0), 1.0)
        return alpha * (self.peak / alpha) ** left


_IDLE = 8  # rows per atom without which an atom counts as dead
_LAST = 0.8  # fraction of training after which atoms are left alone
_CHECKS = 2  # looks at the atoms within that many rows


class Replacement:
    """Gives atoms that no code has used for eight rows per atom a new direction: what is left of badly rebuilt rows.

    The encoder's weights of such a component begin anew as well (:meth:`skvardict.networks.LISTAEncoder.restart_`).

    Parameters
    ----------
    model : DictionaryModel
        With a linear decoder and a LISTA encoder.
    batch_rows : float
    """

    def __init__(self, model: DictionaryModel, batch_rows: float):
        self.model = model
        self.n_replaced = 0
        self._every = max(1, round(_IDLE * model.n_components / _CHECKS / batch_rows))
        self._idle: Tensor | None = None
        self._has_dead = LateAnswer()

    @property
    def idle(self) -> Tensor:
        """Rows since a component was last active, shape (n_components,)."""
        if self._idle is None:
            components: Tensor = self.model.decoder.components  # type: ignore[assignment]
            self._idle = components.detach().new_zeros(len(components))
        return self._idle

    def count(self, codes: Tensor) -> None:
        """Take the codes of a batch."""
        is_unused = ranks.all_sum(torch.count_nonzero(codes, dim=-2)) == 0
        self.idle.add_(ranks.n_rows(codes.shape[-2])).mul_(is_unused.reshape(self.idle.shape))

    def have_dead(self) -> Tensor:
        """Return whether a model has atoms that no code has used for long, shape (...)."""
        return (self.idle >= _IDLE * self.idle.shape[-1]).any(-1)

    def together(self, model: DictionaryModel, idle: Tensor) -> "Replacement":
        """Return what counts for several models, whose counts are `idle` and lie along a first axis."""
        several = copy(self)
        several.model, several._idle, several._has_dead = model, idle, LateAnswer()
        return several

    @torch.no_grad()
    def replace_(
        self,
        position: Position,
        X: Tensor,
        codes: Tensor,
        generator: torch.Generator,
        norm: float | None,
        positive: bool,
    ) -> None:
        """Replace what is dead, now and then until training nears its end.

        Parameters
        ----------
        position : Position
        X, codes : Tensors of shapes (n, d) and (n, l)
            The batch that errors are measured on, as far as it is in this process.
        generator : torch.Generator
            Draws the rows, in proportion to their squared errors.
        norm, positive
            What is asked of atoms; without a norm new atoms get the median one of those in use.
        """
        fraction = (position.epoch % position.n_epochs) / position.n_epochs
        if position.step % self._every or fraction >= _LAST:
            return
        atoms: Tensor = self.model.decoder.components  # type: ignore[assignment]
        is_dead = self.idle >= _IDLE * len(atoms)
        if not self._has_dead(is_dead.any()):
            return
        dead, in_use = is_dead.nonzero().squeeze(1), (~is_dead).nonzero().squeeze(1)
        left = X - codes @ atoms
        error = ranks.whole(left.square().sum(1))
        dead = dead[: int((error > 0).sum())]
        if len(dead) == 0 or len(in_use) == 0:
            return
        chosen = torch.multinomial(error.cpu(), len(dead), generator=generator).to(X.device)
        length = norm or torch.linalg.vector_norm(atoms[in_use], dim=1).median()
        atoms[dead] = project_atoms(ranks.pick(left, chosen), length, positive=positive)
        self.model.encoder.restart_(dead, atoms, in_use)  # type: ignore[operator, union-attr]
        self.idle[dead] = 0
        self.n_replaced += len(dead)

    def report(self) -> int:
        """Return how many atoms were replaced since the last call."""
        n_replaced, self.n_replaced = self.n_replaced, 0
        return n_replaced
