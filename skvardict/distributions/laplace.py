"""The Laplace law, density ``exp(-|s - loc| / scale) / (2 scale)``."""

from collections.abc import Sequence
from math import log
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skvardict.distributions.gamma import Gamma
from skvardict.distributions.location_scale import Thresholdable


class Laplace(Thresholdable):
    """Laplace variables with mean `loc` and mean absolute deviation `scale`.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Laplace
    >>> round(float(Laplace(scale=0.1).log_prob(torch.zeros(())).exp()), 4)
    5.0
    """

    scale_power: ClassVar[int] = 1

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return ``-sign(u) log(1 - |u|)`` for uniform u in (-1, 1)."""
        uniform = torch.empty(shape, dtype=like.dtype, device=like.device)
        # -1 itself would be an infinite draw.
        uniform.uniform_(torch.finfo(like.dtype).eps - 1, 1, generator=generator)
        return torch.log1p(-uniform.abs()).copysign_(uniform)

    def _log_density(self, value: Tensor) -> Tensor:
        return -(value - self.loc).abs() / self.scale - self.scale.log() - log(2)

    def entropy(self) -> Tensor:
        """Return ``log(2 e scale)``, in nats."""
        return self.scale.log() + (1 + log(2))

    @property
    def variance(self) -> Any:
        """``2 scale^2``."""
        return 2 * self.scale**2

    @property
    def mean_absolute(self) -> Any:
        """`scale`."""
        return self.scale

    def tail(self, distance: Tensor) -> Tensor:
        """Return ``exp(-distance / scale)``."""
        return torch.exp(-(distance / self.scale))

    def excess_square(self, distance: Tensor) -> Tensor:
        """Return ``2 scale^2 exp(-distance / scale)``: what exceeds a distance has the law of the whole."""
        return self.variance * self.tail(distance)

    def upper_quantile(self, probability: Tensor) -> Tensor:
        """Return q with ``P(s - loc > q) = probability``."""
        centred = 0.5 - probability
        return self.scale * (-torch.log1p(-2 * centred.abs()) * centred.sign())

    def log_tail(self, distance: Tensor) -> Tensor:
        """Return ``-distance / scale``."""
        return -(distance / self.scale)

    def body(self, distance: Tensor) -> Tensor:
        """Return ``1 - exp(-distance / scale)``."""
        return -torch.expm1(-(distance / self.scale))

    def gamma_tail(self, threshold: Gamma) -> Tensor:
        """Return ``(1 + 1 / (rate scale))^-concentration``."""
        return torch.exp(self.gamma_log_tail(threshold))

    def gamma_log_tail(self, threshold: Gamma) -> Tensor:
        """Return ``-concentration log(1 + 1 / (rate scale))``."""
        return -threshold.concentration * torch.log1p(1 / (threshold.rate * self.scale))

    def gamma_body(self, threshold: Gamma) -> Tensor:
        """Return ``1 - (1 + 1 / (rate scale))^-concentration``."""
        return -torch.expm1(self.gamma_log_tail(threshold))

    def gamma_log_density(self, distance: Tensor, threshold: Gamma) -> Tensor:
        """Return the log-density at `distance` from `loc` plus :meth:`gamma_log_tail`: the law has no memory."""
        return -distance / self.scale - self.scale.log() - log(2) + self.gamma_log_tail(threshold)

    def gamma_mean(self, probability: float, concentration: float) -> float:
        """Return ``scale concentration (probability^(-1 / concentration) - 1)``."""
        return self.scale * concentration * (probability ** (-1 / concentration) - 1)

    def threshold_at(self, log_odds: Tensor) -> Tensor:
        """Return ``-scale log sigmoid(log_odds)``."""
        return -self.scale * logsigmoid(log_odds)
