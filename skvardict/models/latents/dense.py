"""Codes without zeros: a Gaussian posterior, and a prior of any law."""

from dataclasses import dataclass
from math import log

import torch
from torch import Tensor

from skvardict.distributions import Gaussian, Laplace, LocationScale, has_closed_form
from skvardict.functional import Weight
from skvardict.models.latents._base import LARGEST_LOG_SCALE, Anneal, Latent, Noise, bounded_exp


@dataclass(frozen=True)
class DenseLatent(Latent):
    """Gaussian posterior.

    Parameters
    ----------
    prior : LocationScale
        Its parameters are numbers.
    """

    prior: LocationScale
    n_heads = 2
    prior_activation_probability = 1.0

    @property
    def kl_depends_on_draw(self) -> bool:  # type: ignore[override]
        """Whether the divergence is estimated at the draws."""
        return not has_closed_form(Gaussian, type(self.prior))

    @property
    def has_closed_form(self) -> bool:
        """Whether the divergence has one; the moments always have."""
        return not self.kl_depends_on_draw

    @property
    def l1_scale(self) -> float | None:
        """Scale of a Laplace prior."""
        return self.prior.scale if isinstance(self.prior, Laplace) else None

    def posterior(self, outputs: Tensor) -> Gaussian:
        """Return ``N(mean, scale^2)`` with scale = the prior's times ``exp(head / 2)``."""
        mean, log_variance = outputs.chunk(2, -1)
        return Gaussian(mean, bounded_exp(0.5 * log_variance + log(self.prior.scale), LARGEST_LOG_SCALE))

    def codes(self, posterior: LocationScale, noise: Noise, anneal: Anneal) -> Tensor:
        """Return ``mean + scale * noise``."""
        return posterior.sample(noise[0] if anneal.is_over else noise[0] * anneal.noise)

    def _with_less_noise(self, posterior: Gaussian, omega: Weight) -> Gaussian:
        return Gaussian(posterior.loc, posterior.scale * omega)

    def on(self, posterior: Gaussian) -> Tensor:
        """Return ones."""
        return torch.ones_like(posterior.loc)

    def summary(self, posterior: Gaussian) -> dict[str, Tensor]:
        """Return "mean", "scale" and "code_mean" (the same as "mean")."""
        return {"mean": posterior.loc, "scale": posterior.scale, "code_mean": posterior.loc}

    def _noise(self, law: LocationScale, shape, generator: torch.Generator) -> Noise:
        return (law.draw_noise(shape, generator, law.loc),)
