"""The families of codes: how outputs of the encoder become a posterior, its draws, their divergence from the prior.

Notation: n rows, l components, J draws; ``noise`` is a tuple of tensors of shape (J, n, l) or (n, l), the standard
variables that a draw is made from. Codes are a differentiable function of posterior and noise, so that a draw can be
chosen first, without a graph, and be made again with one.
"""

from dataclasses import dataclass
from math import log
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from skvardict.distributions import (
    Cauchy,
    Gamma,
    Gaussian,
    Laplace,
    LocationScale,
    SpikeAndSlab,
    Thresholded,
    activation_probability,
    kl_divergence,
    shifted_soft_threshold,
)

LAWS: dict[str, type[LocationScale]] = {"laplace": Laplace, "gaussian": Gaussian, "cauchy": Cauchy}
GAMMA_SHAPE = 3.0  # of the prior of a random threshold (Fallah & Rozell, appendix B)
_LARGEST_LOG_GAMMA = log(1e6)  # shape and rate between 1e-6 and 1e6, as in the paper
_LARGEST_LOG_SCALE = 15.0  # so that nothing overflows

Noise = tuple[Tensor, ...]


class Anneal(NamedTuple):
    """Where the warm-ups stand.

    Attributes
    ----------
    noise : float
        Factor omega of the drawn noise; 1 after the warm-up.
    temperature : float
        Of the binary concrete gate.
    """

    noise: float = 1.0
    temperature: float = 0.5


def _bounded_exp(log_value: Tensor, bound: float) -> Tensor:
    """Return ``exp`` of the value clamped to +-bound; the gradient skips the clamp.

    Otherwise a scale that an optimiser once threw beyond it could not come back.
    """
    return (log_value + (log_value.clamp(-bound, bound) - log_value).detach()).exp()


class Latent(Protocol):
    """A family of posteriors with its prior."""

    n_heads: int
    kl_depends_on_draw: bool

    def posterior(self, outputs: Tensor) -> Any:
        """Return the posterior for outputs of the encoder, shape (n, n_heads * l)."""

    def draw_noise(self, posterior: Any, n_draws: int, generator: torch.Generator) -> Noise:
        """Return the noise of `n_draws` draws per row."""

    def shared_noise(self, posterior: Any, n_draws: int, generator: torch.Generator) -> Noise:
        """Return noise of shape (J, 1, l), the same for all rows."""

    def codes(self, posterior: Any, noise: Noise, anneal: Anneal) -> Tensor:
        """Return the draws that the noise makes."""

    def kl(self, posterior: Any, codes: Tensor) -> dict[str, Tensor]:
        """Return divergences from the prior by name, (n, l), or with the leading axis of `codes`."""

    def log_ratio(self, posterior: Any, noise: Noise) -> Tensor:
        """Return ``log p - log q`` of the drawn variables, summed over components, shape (J, n)."""

    def prior_codes(self, shape: tuple[int, int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return draws from the prior."""

    def summary(self, posterior: Any) -> dict[str, Tensor]:
        """Return the parameters of the posterior by name, each of shape (n, l)."""


@dataclass(frozen=True)
class DenseLatent:
    """Gaussian posterior, and a Laplace, Gaussian or Cauchy prior centred at zero.

    Parameters
    ----------
    prior : {"laplace", "gaussian", "cauchy"}
    prior_scale : float
    """

    prior: str
    prior_scale: float
    n_heads = 2

    @property
    def kl_depends_on_draw(self) -> bool:
        """Whether the divergence is estimated at the draws."""
        return self.prior == "cauchy"

    def posterior(self, outputs: Tensor) -> Gaussian:
        """Return ``N(mean, scale^2)`` with scale = `prior_scale` times ``exp(head / 2)``."""
        mean, log_variance = outputs.chunk(2, -1)
        return Gaussian(mean, _bounded_exp(0.5 * log_variance + log(self.prior_scale), _LARGEST_LOG_SCALE))

    def draw_noise(self, posterior: Gaussian, n_draws: int, generator: torch.Generator) -> Noise:
        """Return standard normal draws."""
        return (Gaussian.draw_noise((n_draws, *posterior.loc.shape), generator, posterior.loc),)

    def shared_noise(self, posterior: Gaussian, n_draws: int, generator: torch.Generator) -> Noise:
        """Return standard normal draws, the same for all rows."""
        return (Gaussian.draw_noise((n_draws, 1, posterior.loc.shape[-1]), generator, posterior.loc),)

    def codes(self, posterior: Gaussian, noise: Noise, anneal: Anneal) -> Tensor:
        """Return ``mean + scale * noise``."""
        return posterior.sample(noise[0] if anneal.noise == 1 else noise[0] * anneal.noise)

    def kl(self, posterior: Gaussian, codes: Tensor) -> dict[str, Tensor]:
        """Return the divergence per component."""
        return {"kl": kl_divergence(posterior, self._prior(codes), codes)}

    def log_ratio(self, posterior: Gaussian, noise: Noise) -> Tensor:
        """Return ``log p(z) - log q(z | x)``."""
        codes = posterior.sample(noise[0])
        return (self._prior(codes).log_prob(codes) - posterior.log_prob(codes)).sum(-1)

    def prior_codes(self, shape: tuple[int, int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return draws from the prior."""
        return LAWS[self.prior].draw_noise(shape, generator, like).mul_(self.prior_scale)

    def summary(self, posterior: Gaussian) -> dict[str, Tensor]:
        """Return "mean", "scale" and "code_mean" (the same as "mean")."""
        return {"mean": posterior.loc, "scale": posterior.scale, "code_mean": posterior.loc}

    def _prior(self, like: Tensor) -> LocationScale:
        return LAWS[self.prior](like.new_zeros(()), like.new_full((), self.prior_scale))


@dataclass(frozen=True)
class ThresholdedLatent:
    """A Laplace or Gaussian base variable, thresholded about its mean; the divergence is that of the base variable.

    Parameters
    ----------
    base : {"laplace", "gaussian"}
        Law of the base variable, posterior and prior.
    prior_scale : float
    threshold : float
        Zero: no thresholding, dense codes.
    threshold_prior : {"gamma"} or None
        With "gamma" every row and component has a Gamma threshold; its prior has shape 3 and mean `threshold`.
    straight_through : bool
        Whether gradients skip the threshold function.
    """

    base: str
    prior_scale: float
    threshold: float
    threshold_prior: str | None
    straight_through: bool
    kl_depends_on_draw = False

    @property
    def n_heads(self) -> int:
        """Numbers per component that the encoder has to give."""
        return 2 if self.threshold_prior is None else 4

    def posterior(self, outputs: Tensor) -> Thresholded:
        """Return the posterior; heads: mean, log b (or log variance), log shape and log rate of the threshold.

        All but the mean are relative to the prior's.
        """
        mean, head, *heads = outputs.chunk(self.n_heads, -1)
        log_scale = head if self.base == "laplace" else 0.5 * head
        scale = _bounded_exp(log_scale + log(self.prior_scale), _LARGEST_LOG_SCALE)
        threshold: Tensor | Gamma = outputs.new_full((), self.threshold)
        if heads:
            starts = log(GAMMA_SHAPE), log(GAMMA_SHAPE / self.threshold)
            threshold = Gamma(*(_bounded_exp(head + at, _LARGEST_LOG_GAMMA) for head, at in zip(heads, starts)))
        return Thresholded(LAWS[self.base](mean, scale), threshold)

    def draw_noise(self, posterior: Thresholded, n_draws: int, generator: torch.Generator) -> Noise:
        """Return standard draws of the base, and rate-one draws of a Gamma threshold."""
        loc, threshold = posterior.base.loc, posterior.threshold
        noise = LAWS[self.base].draw_noise((n_draws, *loc.shape), generator, loc)
        return (noise, threshold.draw_noise(n_draws, generator)) if isinstance(threshold, Gamma) else (noise,)

    def shared_noise(self, posterior: Thresholded, n_draws: int, generator: torch.Generator) -> Noise:
        """Return base noise that is the same for all rows; a Gamma threshold takes its mean."""
        loc, threshold = posterior.base.loc, posterior.threshold
        noise = LAWS[self.base].draw_noise((n_draws, 1, loc.shape[-1]), generator, loc)
        return (noise, threshold.shape.expand(n_draws, *loc.shape)) if isinstance(threshold, Gamma) else (noise,)

    def codes(self, posterior: Thresholded, noise: Noise, anneal: Anneal) -> Tensor:
        """Return ``T(mean + omega scale noise)``."""
        base, threshold = posterior.base, posterior.threshold
        deviation = base.scale * noise[0]
        if anneal.noise != 1:
            deviation = deviation * anneal.noise
        if isinstance(threshold, Gamma):
            threshold = threshold.sample(noise[1])
        return shifted_soft_threshold(deviation, base.loc, threshold, straight_through=self.straight_through)

    def kl(self, posterior: Thresholded, codes: Tensor) -> dict[str, Tensor]:
        """Return "kl" of the base variable and, for a random threshold, "threshold_kl"."""
        terms = {"kl": kl_divergence(posterior.base, self._prior(posterior.base.loc))}
        if isinstance(posterior.threshold, Gamma):
            terms["threshold_kl"] = kl_divergence(posterior.threshold, self._threshold_prior(posterior.base.loc))
        return terms

    def log_ratio(self, posterior: Thresholded, noise: Noise) -> Tensor:
        """Return ``log p - log q`` of the base variable and of a random threshold."""
        value = posterior.base.sample(noise[0])
        ratio = self._prior(value).log_prob(value) - posterior.base.log_prob(value)
        if isinstance(posterior.threshold, Gamma):
            threshold = posterior.threshold.sample(noise[1])
            ratio = ratio + self._threshold_prior(value).log_prob(threshold) - posterior.threshold.log_prob(threshold)
        return ratio.sum(-1)

    def prior_codes(self, shape: tuple[int, int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return draws from the prior, thresholded."""
        deviation = LAWS[self.base].draw_noise(shape, generator, like).mul_(self.prior_scale)
        threshold = like.new_full((), self.threshold)
        if self.threshold_prior is not None:
            gamma = self._threshold_prior(like)
            threshold = Gamma(gamma.shape.expand(shape), gamma.rate).draw_noise(1, generator)[0] / gamma.rate
        return shifted_soft_threshold(deviation, like.new_zeros(()), threshold, straight_through=True)

    def summary(self, posterior: Thresholded) -> dict[str, Tensor]:
        """Return "mean", "scale" of the base, "threshold" (its mean), "activation_probability" and "code_mean"."""
        base, threshold = posterior.base, posterior.threshold
        mean_threshold = threshold.mean if isinstance(threshold, Gamma) else threshold.expand_as(base.loc)
        on = posterior.activation_probability
        return {
            "mean": base.loc,
            "scale": base.scale,
            "threshold": mean_threshold,
            "activation_probability": on,
            "code_mean": on * base.loc,
        }

    def code_median(self, posterior: Thresholded) -> Tensor:
        """Return the posterior median."""
        return posterior.median

    @property
    def prior_activation_probability(self) -> float:
        """Share of components that are on under the prior."""
        like = torch.ones((), dtype=torch.float64)
        threshold = like * self.threshold if self.threshold_prior is None else self._threshold_prior(like)
        return float(activation_probability(LAWS[self.base], like * self.prior_scale, threshold))

    def _prior(self, like: Tensor) -> LocationScale:
        return LAWS[self.base](like.new_zeros(()), like.new_full((), self.prior_scale))

    def _threshold_prior(self, like: Tensor) -> Gamma:
        return Gamma(like.new_full((), GAMMA_SHAPE), like.new_full((), GAMMA_SHAPE / self.threshold))


@dataclass(frozen=True)
class SpikeAndSlabLatent:
    """A Gaussian slab behind a gate, posterior and prior.

    Parameters
    ----------
    prior_scale : float
        Standard deviation of the slab.
    activation_probability : float
        Of the prior's gate.
    """

    prior_scale: float
    activation_probability: float
    n_heads = 3
    kl_depends_on_draw = False

    def posterior(self, outputs: Tensor) -> SpikeAndSlab:
        """Return the posterior; heads are mean and log variance of the slab, and the gate's log-odds.

        Not relative to the prior's, unlike those of the other families: started there, most components stay there.
        """
        mean, log_variance, logit = outputs.chunk(3, -1)
        return SpikeAndSlab(Gaussian(mean, _bounded_exp(0.5 * log_variance, _LARGEST_LOG_SCALE)), logit)

    def draw_noise(self, posterior: SpikeAndSlab, n_draws: int, generator: torch.Generator) -> Noise:
        """Return standard normal draws for the slab and logistic ones for the gate."""
        return self._draw((n_draws, *posterior.logit.shape), posterior.logit, generator)

    def shared_noise(self, posterior: SpikeAndSlab, n_draws: int, generator: torch.Generator) -> Noise:
        """Return noise that is the same for all rows."""
        return self._draw((n_draws, 1, posterior.logit.shape[-1]), posterior.logit, generator)

    def codes(self, posterior: SpikeAndSlab, noise: Noise, anneal: Anneal) -> Tensor:
        """Return ``gate * slab``; in the warm-up the slab is ``omega mean + (omega scale + sqrt(1 - omega)) noise``."""
        slab, omega = posterior.slab, anneal.noise
        if omega != 1:
            slab = Gaussian(omega * slab.loc, omega * slab.scale + (1 - omega) ** 0.5)
        return posterior.gate(noise[1], anneal.temperature) * slab.sample(noise[0])

    def kl(self, posterior: SpikeAndSlab, codes: Tensor) -> dict[str, Tensor]:
        """Return the divergence per component: of the gate, and of the slab times P(on)."""
        return {"kl": kl_divergence(posterior, self._prior(codes))}

    def log_ratio(self, posterior: SpikeAndSlab, noise: Noise) -> Tensor:
        """Return ``log p(z) - log q(z | x)``."""
        codes = self.codes(posterior, noise, Anneal())
        return (self._prior(codes).log_prob(codes) - posterior.log_prob(codes)).sum(-1)

    def prior_codes(self, shape: tuple[int, int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return draws from the prior."""
        prior = self._prior(like)
        slab, gate = self._draw(shape, like, generator)
        return prior.gate(gate, 1.0) * prior.slab.sample(slab)

    def summary(self, posterior: SpikeAndSlab) -> dict[str, Tensor]:
        """Return "mean", "scale" of the slab, "activation_probability" and "code_mean"."""
        on = posterior.activation_probability
        slab = posterior.slab
        return {"mean": slab.loc, "scale": slab.scale, "activation_probability": on, "code_mean": on * slab.loc}

    def code_median(self, posterior: SpikeAndSlab) -> Tensor:
        """Return the posterior median."""
        return posterior.median

    @property
    def prior_activation_probability(self) -> float:
        """Share of components that are on under the prior."""
        return self.activation_probability

    def _draw(self, shape, like: Tensor, generator: torch.Generator) -> Noise:
        return (
            Gaussian.draw_noise(shape, generator, like),
            SpikeAndSlab.draw_gate_noise(shape, generator, like),
        )

    def _prior(self, like: Tensor) -> SpikeAndSlab:
        log_odds = log(self.activation_probability / (1 - self.activation_probability))
        slab = Gaussian(like.new_zeros(()), like.new_full((), self.prior_scale))
        return SpikeAndSlab(slab, like.new_full((), log_odds))
