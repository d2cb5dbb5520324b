"""The Cauchy law, density ``1 / (pi scale (1 + ((s - loc) / scale)^2))``."""

from collections.abc import Sequence
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
    >>> round(float(Cauchy().log_prob(torch.zeros(())).exp()), 4)
    0.3183
    """

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return standard Cauchy draws."""
        return torch.empty(shape, dtype=like.dtype, device=like.device).cauchy_(generator=generator)

    def _log_density(self, value: Tensor) -> Tensor:
        return -torch.log1p(((value - self.loc) / self.scale).square()) - self.scale.log() - log(pi)

    def entropy(self) -> Tensor:
        """Return ``log(4 pi scale)``, in nats."""
        return self.scale.log() + log(4 * pi)
