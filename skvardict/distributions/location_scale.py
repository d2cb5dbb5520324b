"""What laws of the form ``loc + scale * noise`` with symmetric standard noise share."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import torch
from torch import Tensor

from skvardict.distributions.gamma import Gamma
from skvardict.distributions.law import Law


@dataclass(frozen=True)
class LocationScale(Law, ABC):
    """Independent variables ``loc + scale * e``, e from a symmetric law.

    A law with further parameters is a frozen dataclass that declares them as fields with defaults.

    Parameters
    ----------
    loc, scale : Tensor or float
        Of shapes that broadcast against each other; `scale` is positive.
    """

    loc: Any = 0.0
    scale: Any = 1.0

    @abstractmethod
    def draw_noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return draws of e, with dtype and device of `like`."""

    @abstractmethod
    def _log_density(self, value: Tensor) -> Tensor:
        """Return :meth:`log_prob` of a law whose parameters are tensors."""

    @abstractmethod
    def entropy(self) -> Tensor:
        """Return the entropy in nats, of a law whose parameters are tensors."""

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of `value`, entry by entry."""
        return self.like(value)._log_density(value)

    def sample(self, noise: Tensor) -> Tensor:
        """Return ``loc + scale * noise``, differentiable in both parameters; they are tensors."""
        return torch.addcmul(self.loc, self.scale, noise)

    @property
    def median(self) -> Any:
        """`loc`, since the law is symmetric."""
        return self.loc


@dataclass(frozen=True)
class Thresholdable(LocationScale):
    """A law that knows how often its variables are farther from `loc` than a threshold, fixed or random."""

    scale_power: ClassVar[int]  # the logarithm of scale ** scale_power is what encoders give

    @property
    def mean(self) -> Any:
        """`loc`, since the law is symmetric."""
        return self.loc

    @property
    @abstractmethod
    def variance(self) -> Any:
        """Mean of ``(s - loc)^2``."""

    @property
    @abstractmethod
    def mean_absolute(self) -> Any:
        """Mean of ``|s - loc|``."""

    @abstractmethod
    def tail(self, distance: Tensor) -> Tensor:
        """Return ``P(|s - loc| > distance)`` for non-negative distances."""

    @abstractmethod
    def excess_square(self, distance: Tensor) -> Tensor:
        """Return the mean of ``max(|s - loc| - distance, 0)^2`` for non-negative distances."""

    @abstractmethod
    def upper_quantile(self, probability: Tensor) -> Tensor:
        """Return q with ``P(s - loc > q) = probability``."""

    @abstractmethod
    def gamma_tail(self, threshold: Gamma) -> Tensor:
        """Return ``P(|s - loc| > t)`` for t from a Gamma law."""

    @abstractmethod
    def gamma_log_density(self, distance: Tensor, threshold: Gamma) -> Tensor:
        """Return the logarithm of the density at ``loc + distance + t``, averaged over a Gamma law of t."""

    def at_distance(self, distance: Tensor) -> Tensor:
        """Return the log-density at ``loc + distance``."""
        return replace(self, loc=torch.zeros_like(self.loc)).log_prob(distance)

    def log_tail(self, distance: Tensor) -> Tensor:
        """Return the logarithm of :meth:`tail`."""
        return self.tail(distance).log()

    def gamma_log_tail(self, threshold: Gamma) -> Tensor:
        """Return the logarithm of :meth:`gamma_tail`."""
        return self.gamma_tail(threshold).log()

    def body(self, distance: Tensor) -> Tensor:
        """Return ``1 - tail``."""
        return 1 - self.tail(distance)

    def gamma_body(self, threshold: Gamma) -> Tensor:
        """Return ``1 - gamma_tail``."""
        return 1 - self.gamma_tail(threshold)

    @abstractmethod
    def gamma_mean(self, probability: float, concentration: float) -> float:
        """Return the mean of the Gamma law of t with ``P(|s - loc| > t) = probability``, of a law of numbers."""

    @abstractmethod
    def threshold_at(self, log_odds: Tensor) -> Tensor:
        """Return the distance whose :meth:`tail` has these log-odds."""
