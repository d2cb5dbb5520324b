"""Schedules: from the position in training to a factor. The objective declares them, the loop tells the position."""

from dataclasses import dataclass
from math import cos, pi

from skvardict.training.protocol import Position


@dataclass(frozen=True)
class CosineRate:
    """Linear rise over the first share `warmup` of `n_epochs` epochs, then half a cosine down to zero.

    Later epochs begin a new cycle, so that a continued model goes on learning.

    Parameters
    ----------
    n_epochs : int
    warmup : float in [0, 1]
    """

    n_epochs: int
    warmup: float

    def __call__(self, position: Position) -> float:
        """Return the factor of the learning rate."""
        phase = (position.epoch % self.n_epochs) / self.n_epochs
        if phase < self.warmup:
            return max(phase / self.warmup, 1e-3)  # a rate of exactly zero would waste the first step
        return 0.5 * (1 + cos(pi * (phase - self.warmup) / (1 - self.warmup)))


@dataclass(frozen=True)
class Ramp:
    """`start` until `begin`, then linear to one at `end`, in steps or, given `n_epochs`, in shares of them.

    Parameters
    ----------
    start : float
    begin, end : float
    n_epochs : int or None
    """

    start: float
    begin: float
    end: float
    n_epochs: int | None = None

    def __call__(self, position: Position) -> float:
        """Return the factor."""
        at = position.step if self.n_epochs is None else position.epoch / self.n_epochs
        if at >= self.end:
            return 1.0
        if at <= self.begin:
            return self.start
        return self.start + (1 - self.start) * ((at - self.begin) / (self.end - self.begin))


@dataclass(frozen=True)
class Decay:
    """``max(end, start * factor^step)``.

    Parameters
    ----------
    start, end, factor : float
    """

    start: float
    end: float
    factor: float

    def __call__(self, position: Position) -> float:
        """Return the value."""
        return max(self.end, self.start * self.factor**position.step)
