"""What an automatic fit does beside the steps of its optimiser: fewer inference steps, a penalty that begins high."""

from dataclasses import dataclass

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
