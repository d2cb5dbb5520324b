"""The Gaussian law, density ``exp(-(s - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi))``."""

from collections.abc import Sequence
from math import log, pi, sqrt
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import gammainc
from torch import Tensor

from skvardict.distributions.gamma import Gamma
from skvardict.distributions.location_scale import Thresholdable

_N_NODES, _LARGEST = 32, 6.5  # of the quadrature over |e|, with random thresholds


class Gaussian(Thresholdable):
    """Gaussian variables with mean `loc` and standard deviation `scale`.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Gaussian
    >>> round(float(Gaussian(scale=2.0).tail(torch.tensor(2 * 1.96))), 3)
    0.05
    """

    scale_power: ClassVar[int] = 2

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return standard normal draws."""
        return torch.empty(shape, dtype=like.dtype, device=like.device).normal_(generator=generator)

    def _log_density(self, value: Tensor) -> Tensor:
        return -0.5 * ((value - self.loc) / self.scale).square() - self.scale.log() - 0.5 * log(2 * pi)

    def entropy(self) -> Tensor:
        """Return ``log(scale sqrt(2 pi e))``, in nats."""
        return self.scale.log() + 0.5 * (1 + log(2 * pi))

    @property
    def mean_absolute(self) -> Any:
        """``scale sqrt(2 / pi)``."""
        return self.scale * sqrt(2 / pi)

    def tail(self, distance: Tensor) -> Tensor:
        """Return ``erfc(distance / (scale sqrt(2)))``."""
        return torch.erfc(distance / self.scale / sqrt(2))

    def upper_quantile(self, probability: Tensor) -> Tensor:
        """Return q with ``P(s - loc > q) = probability``."""
        return self.scale * -torch.special.ndtri(probability)

    def gamma_tail(self, threshold: Gamma) -> Tensor:
        """Return the mean over ``|e|`` of the Gamma distribution function at ``scale |e|``, by a quadrature."""
        reach = threshold.rate * self.scale
        total = torch.zeros_like(reach)
        for node, weight in zip(*_half_normal_nodes()):  # one at a time: memory stays that of the parameters
            total = total + weight * torch.special.gammainc(threshold.concentration, reach * node)
        return total

    def gamma_mean(self, probability: float, concentration: float) -> float:
        """Return the mean of the threshold's law by bisection; with numpy, whatever torch's device in use."""
        nodes, weights = _half_normal_nodes()

        def excess(log_mean: float) -> float:
            return float(weights @ gammainc(concentration, concentration / np.exp(log_mean) * nodes)) - probability

        return self.scale * float(np.exp(brentq(excess, np.log(1e-6), np.log(1e6))))


def _half_normal_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the mean over ``|e|`` for a standard Gaussian e."""
    # |e| = t^2 takes the pole out that a Gamma density of concentration below one has at zero.
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    root, weights = (nodes + 1) / 2 * np.sqrt(_LARGEST), weights / 2 * np.sqrt(_LARGEST)
    return root**2, weights * 2 * root * np.sqrt(2 / np.pi) * np.exp(-(root**4) / 2)
