"""The Gaussian law, density ``exp(-(s - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi))``."""

from math import log, pi, sqrt

import torch
from torch import Tensor

from skvardict.distributions.location_scale import LocationScale


class Gaussian(LocationScale):
    """Gaussian variables with mean `loc` and standard deviation `scale`.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Gaussian
    >>> round(float(Gaussian.tail(torch.tensor(1.96))), 3)
    0.05
    """

    @staticmethod
    def draw_noise(shape, generator: torch.Generator, like: Tensor) -> Tensor:
        """Return standard normal draws."""
        return torch.empty(shape, dtype=like.dtype, device=like.device).normal_(generator=generator)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ``-((value - loc) / scale)^2 / 2 - log(scale sqrt(2 pi))``."""
        return -0.5 * ((value - self.loc) / self.scale).square() - self.scale.log() - 0.5 * log(2 * pi)

    def entropy(self) -> Tensor:
        """Return ``log(scale sqrt(2 pi e))``, in nats."""
        return self.scale.log() + 0.5 * (1 + log(2 * pi))

    @staticmethod
    def tail(distance: Tensor) -> Tensor:
        """Return ``erfc(distance / sqrt(2))``."""
        return torch.erfc(distance / sqrt(2))

    @staticmethod
    def upper_quantile(probability: Tensor) -> Tensor:
        """Return q with ``P(e > q) = probability``."""
        return -torch.special.ndtri(probability)
