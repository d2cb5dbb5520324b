"""Student's t law, density proportional to ``(1 + ((s - loc) / scale)^2 / df)^(-(df + 1) / 2)``."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log, pi
from typing import Any

import torch
from torch import Tensor

from skvardict.distributions.gamma import Gamma
from skvardict.distributions.location_scale import LocationScale


@dataclass(frozen=True)
class StudentT(LocationScale):
    """Student-t variables with median `loc`: Cauchy for ``df=1``, and nearly Gaussian for many degrees of freedom.

    Parameters
    ----------
    loc, scale : Tensor or float
    df : Tensor or float, default=3.0
        Degrees of freedom; fewer give heavier tails.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import StudentT
    >>> round(float(StudentT(df=1.0).log_prob(torch.zeros(())).exp()), 4)
    0.3183
    """

    df: Any = 3.0

    def __post_init__(self):
        if not isinstance(self.df, Tensor) and not self.df > 0:
            raise ValueError(f"StudentT expects df > 0, but got {self.df!r}.")

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return ``w sqrt(df / 2 / g)``, w standard normal, g from the Gamma law of ``df / 2`` and rate 1."""
        half = self.like(like).df / 2
        normal = torch.empty(shape, dtype=like.dtype, device=like.device).normal_(generator=generator)
        return normal * (half / Gamma(half, 1.0).draw_noise(shape, generator, like)).sqrt()

    def _log_density(self, value: Tensor) -> Tensor:
        half, above = self.df / 2, (self.df + 1) / 2
        constant = torch.lgamma(above) - torch.lgamma(half) - 0.5 * (self.df.log() + log(pi)) - self.scale.log()
        return constant - above * torch.log1p(((value - self.loc) / self.scale).square() / self.df)

    def entropy(self) -> Tensor:
        """Return the entropy in nats: ``a (psi(a) - psi(df / 2)) + log(sqrt(df) B(df / 2, 1/2) scale)``, a = (df+1)/2.

        psi is the digamma function, B the beta function.
        """
        half, above = self.df / 2, (self.df + 1) / 2
        log_beta = torch.lgamma(half) + 0.5 * log(pi) - torch.lgamma(above)
        return above * (above.digamma() - half.digamma()) + 0.5 * self.df.log() + log_beta + self.scale.log()
