"""The elastic net: an L1 norm and a square."""

from dataclasses import dataclass

from torch import Tensor

from skvardict.energies.l1 import L1
from skvardict.energies.penalty import Penalty


@dataclass(frozen=True)
class ElasticNet(Penalty):
    """``alpha (r |z|_1 + (1 - r) / 2 |z|^2)`` with ``r = l1_ratio``, over ``z >= 0`` if `positive`.

    Parameters
    ----------
    alpha : float
        Larger gives sparser and smaller codes; times ``d / 2`` it is scikit-learn's.
    l1_ratio : float
        Above 0, at most 1. A smaller one shares a code among correlated atoms.
    positive : bool

    References
    ----------
    Zou & Hastie, Regularization and variable selection via the elastic net, JRSS B 2005.
    """

    alpha: float
    l1_ratio: float = 0.5
    positive: bool = True
    name = "elastic_net"

    def __post_init__(self) -> None:
        if not 0 < self.l1_ratio <= 1:
            raise ValueError(f"ElasticNet expects 0 < l1_ratio <= 1, but got {self.l1_ratio}.")

    @property
    def curvature(self) -> float:
        """``alpha (1 - l1_ratio)``."""
        return self.alpha * (1 - self.l1_ratio)

    @property
    def l1(self) -> L1:
        """The L1 part."""
        return L1(self.alpha * self.l1_ratio, self.positive)

    def measure(self, codes: Tensor) -> Tensor:
        """Return ``r |z|_1 + (1 - r) / 2 |z|^2`` per row."""
        return self.l1_ratio * codes.abs().sum(-1) + (1 - self.l1_ratio) / 2 * codes.square().sum(-1)

    def prox(self, point: Tensor, step: float | Tensor) -> Tensor:
        """Shrink by the L1 part, then divide by ``1 + step * curvature``."""
        return self.l1.prox(point, step) / (1 + step * self.curvature)

    def dual_norm(self, gradient: Tensor) -> Tensor:
        """Return the largest correlation with an atom, over `l1_ratio`."""
        return self.l1.dual_norm(gradient) / self.l1_ratio
