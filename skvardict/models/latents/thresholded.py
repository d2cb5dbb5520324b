"""Codes that are zero within a threshold of the posterior mean."""

from dataclasses import dataclass, replace
from math import log

import torch
from torch import Tensor

from skvardict._utils import ranks
from skvardict.distributions import Gamma, Thresholded, kl_divergence, shifted_soft_threshold
from skvardict.functional import Weight, to_device
from skvardict.models.latents._base import LARGEST_LOG_SCALE, Anneal, Latent, Noise, bounded_exp

_LARGEST_LOG_GAMMA = log(1e6)  # concentration and rate between 1e-6 and 1e6, as in the paper


@dataclass(frozen=True)
class ThresholdedLatent(Latent):
    """A base variable, thresholded about its mean; the divergence that is trained is that of the base variable.

    Parameters
    ----------
    prior : Thresholded
        Its parameters are numbers; the posterior's base is of the same law. A threshold of zero gives dense codes; with
        a Gamma threshold every row and component has a Gamma threshold of its own.
    straight_through : bool
        Whether gradients skip the threshold function.
    has_gate : bool
        Whether every row and component has a fixed threshold of its own, by the log-odds of being on that the encoder
        gives. With the prior's threshold P(on) is a function of the scale: a component can be on in most draws only if
        these are noise.
    """

    prior: Thresholded
    straight_through: bool
    has_gate: bool = False

    @property
    def n_heads(self) -> int:  # type: ignore[override]
        """Numbers per component that the encoder has to give."""
        return 4 if self.prior.has_random_threshold else 3 if self.has_gate else 2

    @property
    def has_closed_form(self) -> bool:
        """Whether moments of the codes and their divergence from the prior have one."""
        return not self.prior.has_random_threshold

    @property
    def prior_activation_probability(self) -> float:
        """Share of components that are on under the prior."""
        # On the CPU even where models are sketched on the device "meta", which has no numbers.
        return float(self.prior.like(torch.ones((), dtype=torch.float64, device="cpu")).activation_probability)

    @property
    def l1_scale(self) -> float:
        """Mean absolute value of the base variable."""
        return self.prior.base.mean_absolute

    def for_expectations(self) -> "ThresholdedLatent":
        """Return the family with a gate of its own for every row; without zeros there is none."""
        return replace(self, has_gate=self.prior_activation_probability < 1)

    def posterior(self, outputs: Tensor) -> Thresholded:
        """Return the posterior; heads: mean, log b (or log variance), and what the threshold follows from.

        That is nothing, the log-odds of being on, or log concentration and log rate of a Gamma threshold. All but the
        mean are relative to the prior's.
        """
        base, threshold = self.prior.base, self.prior.threshold
        mean, head, *heads = outputs.chunk(self.n_heads, -1)
        scale = bounded_exp(head / base.scale_power + log(base.scale), LARGEST_LOG_SCALE)
        if isinstance(threshold, Gamma):
            starts = log(threshold.concentration), log(threshold.rate)
            threshold = Gamma(*(bounded_exp(head + start, _LARGEST_LOG_GAMMA) for head, start in zip(heads, starts)))
        elif self.has_gate:
            on = self.prior_activation_probability
            threshold = replace(base, loc=mean, scale=scale).threshold_at(heads[0] + log(on / (1 - on)))
        return Thresholded(replace(base, loc=mean, scale=scale), threshold).like(outputs)

    def shared_noise(self, posterior: Thresholded, n_draws: int, generator: torch.Generator) -> Noise:
        """Return base noise that is the same for all rows; a Gamma threshold takes its mean."""
        base, threshold = posterior.base, posterior.threshold
        like = torch.zeros((), dtype=base.loc.dtype, device=generator.device)
        noise = to_device(base.draw_noise((n_draws, 1, posterior.shape[-1]), generator, like), base.loc.device)
        if not isinstance(threshold, Gamma):
            return (noise,)
        return noise, threshold.concentration.expand(n_draws, *posterior.shape)

    def codes(self, posterior: Thresholded, noise: Noise, anneal: Anneal) -> Tensor:
        """Return ``T(mean + omega scale noise)``."""
        base, threshold = posterior.base, posterior.threshold
        deviation = base.scale * noise[0]
        if not anneal.is_over:
            deviation = deviation * anneal.noise
        if isinstance(threshold, Gamma):
            threshold = threshold.sample(noise[1])
        return shifted_soft_threshold(deviation, base.loc, threshold, straight_through=self.straight_through)

    def _with_less_noise(self, posterior: Thresholded, omega: Weight) -> Thresholded:
        return replace(posterior, base=replace(posterior.base, scale=posterior.base.scale * omega))

    def scored_codes(self, posterior: Thresholded, noise: Noise) -> tuple[Tensor, Tensor | None]:
        """Return draws with the gradient of values given that they are on, and the log-probability of being on or off.

        A value keeps its level of probability among those that are on: beside the sub-gradient of T it moves with
        ``threshold / scale``, by the ratio of the hazard rates at the threshold and at the value; for a Laplace base
        its distance from `loc` is then proportional to the scale. Given a random threshold these are laws of a fixed
        one.
        """
        if self.prior_activation_probability == 1:
            return super().scored_codes(posterior, noise)
        base, threshold = posterior.base, posterior.threshold
        if isinstance(threshold, Gamma):
            threshold = threshold.sample(noise[1])
        deviation = base.scale * noise[0]
        codes = shifted_soft_threshold(deviation, base.loc, threshold, straight_through=False)
        off = base.body(threshold)
        is_on = (codes != 0) | (off == 0)
        with torch.no_grad():
            log_hazard, log_hazard_there = (
                base.at_distance(distance) - base.log_tail(distance) for distance in (threshold, deviation.abs())
            )
            slope = base.scale * (log_hazard - log_hazard_there).exp() * deviation.sign() * is_on
        cut = threshold / base.scale
        log_support = torch.where(is_on, base.log_tail(threshold), torch.where(is_on, 1, off).log())
        return codes + slope * (cut - cut.detach()), log_support.sum(-1)

    def kl(self, posterior: Thresholded, codes: Tensor) -> dict[str, Tensor]:
        """Return "kl" of the base variable and, for a random threshold, "threshold_kl": those of the paper.

        They are no divergences of the codes: the base variable is thresholded about the posterior's mean, and about
        zero under the prior, so that it does not make the codes of the prior. :meth:`code_kl` has that divergence.
        """
        prior = self.prior.like(codes)
        terms = {"kl": kl_divergence(posterior.base, prior.base)}
        if prior.has_random_threshold:
            terms["threshold_kl"] = kl_divergence(posterior.threshold, prior.threshold)
        return terms

    def summary(self, posterior: Thresholded) -> dict[str, Tensor]:
        """Return "mean", "scale" of the base, "threshold" (its mean), "activation_probability" and "code_mean"."""
        base, on = posterior.base, posterior.activation_probability
        return {
            "mean": base.loc,
            "scale": base.scale,
            "threshold": posterior.mean_threshold.expand_as(base.loc),
            "activation_probability": on,
            "code_mean": on * base.loc,
        }

    def _noise(self, law: Thresholded, shape, generator: torch.Generator) -> Noise:
        noise = law.base.draw_noise(shape, generator, law.base.loc)
        if not law.has_random_threshold:
            return (noise,)
        # Which proposals are accepted, and so what is drawn next, depends on the concentrations of all rows.
        threshold = replace(law.threshold, concentration=ranks.whole(law.threshold.concentration))
        return noise, threshold.draw_noise(shape, generator, law.base.loc)
