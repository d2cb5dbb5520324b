"""The distance of codes to what an encoder predicts."""

from dataclasses import dataclass

from torch import Tensor

from skvardict.functional import Weight, per_row


def coupling(codes: Tensor, prediction: Tensor) -> Tensor:
    """Return ``1/l |z - e|^2`` per row: the mean over components."""
    return (codes - prediction).square().mean(-1)


@dataclass(frozen=True)
class Coupling:
    """``gamma / l |z - e|^2`` with the prediction ``e`` of each row.

    Parameters
    ----------
    gamma : float, or Tensor of shape (..., 1, 1)
        Larger keeps codes closer to the prediction.
    prediction : Tensor of shape (..., n, l)
    """

    gamma: Weight
    prediction: Tensor

    @property
    def curvature(self) -> Weight:
        """``2 gamma / l``, in every direction."""
        return 2 * self.gamma / self.prediction.shape[-1]

    def value(self, codes: Tensor) -> Tensor:
        """Return the term per row, shape (..., n)."""
        return per_row(self.gamma) * coupling(codes, self.prediction)

    def gradient(self, codes: Tensor) -> Tensor:
        """Return ``2 gamma / l (z - e)``."""
        return self.gamma * ((2 / codes.shape[-1]) * (codes - self.prediction))

    def keep_rows(self, keep: Tensor) -> "Coupling":
        """Return the term of the rows `keep` (indices)."""
        return Coupling(self.gamma, self.prediction.index_select(-2, keep))
