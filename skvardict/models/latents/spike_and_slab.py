"""Codes behind a gate: zero, or drawn from a Gaussian slab."""

from dataclasses import dataclass, replace
from math import log

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skvardict.distributions import Gaussian, SpikeAndSlab
from skvardict.functional import Weight
from skvardict.models.latents._base import LARGEST_LOG_SCALE, Anneal, Latent, Noise, bounded_exp


@dataclass(frozen=True)
class SpikeAndSlabLatent(Latent):
    """A Gaussian slab behind a gate, posterior and prior.

    Parameters
    ----------
    prior : SpikeAndSlab
        Its parameters are numbers.
    starts_at_prior : bool
        Whether the encoder's heads are relative to the prior. In closed form training leaves it; by draws, most
        components stay there.
    """

    prior: SpikeAndSlab
    starts_at_prior: bool = False
    n_heads = 3
    has_closed_form = True

    @property
    def prior_activation_probability(self) -> float:
        """Share of components that are on under the prior."""
        # On the CPU even where models are sketched on the device "meta", which has no numbers.
        return float(self.prior.like(torch.ones((), dtype=torch.float64, device="cpu")).activation_probability)

    @property
    def l1_scale(self) -> float:
        """Mean absolute value of the slab."""
        return self.prior.slab.mean_absolute

    def for_expectations(self) -> "SpikeAndSlabLatent":
        """Return the family that starts at the prior."""
        return replace(self, starts_at_prior=True)

    def posterior(self, outputs: Tensor) -> SpikeAndSlab:
        """Return the posterior; heads are mean and log variance of the slab, and the gate's log-odds."""
        mean, log_variance, logit = outputs.chunk(3, -1)
        log_scale = 0.5 * log_variance
        if self.starts_at_prior:
            log_scale, logit = log_scale + log(self.prior.slab.scale), logit + self.prior.logit
        return SpikeAndSlab(Gaussian(mean, bounded_exp(log_scale, LARGEST_LOG_SCALE)), logit)

    def codes(self, posterior: SpikeAndSlab, noise: Noise, anneal: Anneal) -> Tensor:
        """Return ``gate * slab``; in the warm-up the slab is ``omega mean + (omega scale + sqrt(1 - omega)) noise``."""
        slab = self.warmed(posterior, anneal).slab
        return posterior.gate(noise[1], float(anneal.temperature)) * slab.sample(noise[0])

    def _with_less_noise(self, posterior: SpikeAndSlab, omega: Weight) -> SpikeAndSlab:
        slab = posterior.slab
        return replace(posterior, slab=Gaussian(omega * slab.loc, omega * slab.scale + (1 - omega) ** 0.5))

    def scored_codes(self, posterior: SpikeAndSlab, noise: Noise) -> tuple[Tensor, Tensor]:
        """Return draws of the slab where gates are on, and the log-probability of the gates."""
        is_on = posterior.logit + noise[1] > 0
        log_support = torch.where(is_on, logsigmoid(posterior.logit), logsigmoid(-posterior.logit))
        return is_on * posterior.slab.sample(noise[0]), log_support.sum(-1)

    def summary(self, posterior: SpikeAndSlab) -> dict[str, Tensor]:
        """Return "mean", "scale" of the slab, "activation_probability" and "code_mean"."""
        slab, on = posterior.slab, posterior.activation_probability
        return {"mean": slab.loc, "scale": slab.scale, "activation_probability": on, "code_mean": on * slab.loc}

    def _noise(self, law: SpikeAndSlab, shape, generator: torch.Generator) -> Noise:
        return law.slab.draw_noise(shape, generator, law.logit), law.draw_gate_noise(shape, generator, law.logit)
