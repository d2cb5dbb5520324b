"""The L1 norm of codes."""

from dataclasses import dataclass

from torch import Tensor

from skvardict.energies.penalty import Penalty
from skvardict.functional import Weight, soft_threshold


@dataclass(frozen=True)
class L1(Penalty):
    """``alpha |z|_1``, over ``z >= 0`` if `positive`.

    Parameters
    ----------
    alpha : float, or Tensor of shape (..., 1, 1)
        Larger gives sparser codes.
    positive : bool
        Whether codes are non-negative. The norm is then the linear function ``alpha sum(z)``, and the rest of the
        penalty is a projection.
    """

    alpha: Weight
    positive: bool = True
    name = "l1"

    @property
    def slope(self) -> Weight:  # type: ignore[override]
        """`alpha` where codes are non-negative, else 0."""
        return self.alpha if self.positive else 0.0

    @property
    def l1(self) -> "L1":
        """The penalty itself."""
        return self

    def measure(self, codes: Tensor) -> Tensor:
        """Return ``|z|_1`` per row."""
        return codes.abs().sum(-1)

    def total(self, codes: Tensor) -> Tensor:
        """Return the sum of the norms, in one reduction."""
        return codes.abs().sum((-2, -1))

    def prox(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Shrink by ``step * alpha``."""
        return soft_threshold(point, step * self.alpha, positive=self.positive)

    @property
    def rest(self) -> Penalty:
        """The projection, whatever `alpha`, where codes are non-negative."""
        return self.with_alpha(0.0) if self.positive else self

    def prox_of_rest_(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Project on the non-negative codes; signed codes have no slope."""
        return point.clamp_min_(0) if self.positive else self.prox(point, step)

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Return the largest correlation with an atom, ``max_j c_j`` or ``max_j |c_j|``, where ``c = -gradient``."""
        if self.positive:
            return -gradient.amin(-1)
        return gradient.abs().amax(-1)
