"""The Laplace law, density ``exp(-|s - loc| / scale) / (2 scale)``."""

from math import log

import torch
from torch import Tensor

from skvardict.distributions.location_scale import LocationScale


class Laplace(LocationScale):
    """Laplace variables with mean `loc` and mean absolute deviation `scale`.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Laplace
    >>> law = Laplace(torch.zeros(()), torch.full((), 0.1))
    >>> round(float(law.log_prob(torch.zeros(())).exp()), 4)
    5.0
    """

    @staticmethod
    def draw_noise(shape, generator: torch.Generator, like: Tensor) -> Tensor:
        """Return ``-sign(u) log(1 - |u|)`` for uniform u in (-1, 1)."""
        uniform = torch.empty(shape, dtype=like.dtype, device=like.device)
        # -1 itself would be an infinite draw.
        uniform.uniform_(torch.finfo(like.dtype).eps - 1, 1, generator=generator)
        return torch.log1p(-uniform.abs()).copysign_(uniform)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return ``-|value - loc| / scale - log(2 scale)``."""
        return -(value - self.loc).abs() / self.scale - self.scale.log() - log(2)

    @staticmethod
    def tail(distance: Tensor) -> Tensor:
        """Return ``exp(-distance)``."""
        return torch.exp(-distance)

    @staticmethod
    def upper_quantile(probability: Tensor) -> Tensor:
        """Return q with ``P(e > q) = probability``."""
        centred = 0.5 - probability
        return -torch.log1p(-2 * centred.abs()) * centred.sign()
