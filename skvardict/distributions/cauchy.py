"""The Cauchy law, density ``1 / (pi scale (1 + ((s - loc) / scale)^2))``."""

from math import log, pi

import torch
from torch import Tensor

from skvardict.distributions.location_scale import LocationScale


class Cauchy(LocationScale):
    """Cauchy variables with median `loc` and half-width `scale`; they have no mean.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Cauchy
    >>> round(float(Cauchy.tail(torch.tensor(1.0))), 4)
    0.5
    """

    @staticmethod
    def draw_noise(shape, generator: torch.Generator, like: Tensor) -> Tensor:
        """Return standard Cauchy draws."""
        return torch.empty(shape, dtype=like.dtype, device=like.device).cauchy_(generator=generator)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ``-log(1 + ((value - loc) / scale)^2) - log(pi scale)``."""
        return -torch.log1p(((value - self.loc) / self.scale).square()) - self.scale.log() - log(pi)

    @staticmethod
    def tail(distance: Tensor) -> Tensor:
        """Return ``1 - 2 / pi arctan(distance)``."""
        return 1 - 2 / pi * torch.atan(distance)

    @staticmethod
    def upper_quantile(probability: Tensor) -> Tensor:
        """Return q with ``P(e > q) = probability``."""
        return torch.tan(pi * (0.5 - probability))
