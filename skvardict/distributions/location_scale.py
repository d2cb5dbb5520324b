"""What laws of the form ``loc + scale * noise`` with symmetric standard noise share."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class LocationScale(ABC):
    """Independent variables ``loc + scale * e``, e from a fixed symmetric law.

    Parameters
    ----------
    loc, scale : Tensor
        Of shapes that broadcast against each other; `scale` is positive.
    """

    loc: Tensor
    scale: Tensor

    @property
    def shape(self) -> torch.Size:
        """Shape of the parameters."""
        return torch.broadcast_shapes(self.loc.shape, self.scale.shape)

    @staticmethod
    @abstractmethod
    def draw_noise(shape, generator: torch.Generator, like: Tensor) -> Tensor:
        """Return draws of the standard law, with dtype and device of `like`."""

    @abstractmethod
    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of `value`, entry by entry."""

    @staticmethod
    @abstractmethod
    def tail(distance: Tensor) -> Tensor:
        """Return the standard law's ``P(|e| > distance)`` for non-negative distances."""

    @staticmethod
    @abstractmethod
    def upper_quantile(probability: Tensor) -> Tensor:
        """Return the standard law's q with ``P(e > q) = probability``."""

    def sample(self, noise: Tensor) -> Tensor:
        """Return ``loc + scale * noise``, differentiable in both parameters."""
        return torch.addcmul(self.loc, self.scale, noise)
