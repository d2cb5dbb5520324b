"""Spike and slab: zero with probability ``1 - p``, else Gaussian. The gate is a straight-through binary concrete."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skvardict.distributions.gaussian import Gaussian
from skvardict.distributions.law import Law


class _StraightThroughGate(torch.autograd.Function):
    """``1[x > 0]`` with the derivative of ``sigmoid(x / temperature)``."""

    @staticmethod
    def forward(ctx, logits: Tensor, temperature: float) -> Tensor:
        ctx.save_for_backward(logits)
        ctx.temperature = temperature
        return (logits > 0).to(logits.dtype)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        (logits,) = ctx.saved_tensors
        soft = torch.sigmoid(logits / ctx.temperature)
        return grad_output * soft * (1 - soft) / ctx.temperature, None


@dataclass(frozen=True)
class SpikeAndSlab(Law):
    """Variables that are zero with probability ``1 - sigmoid(logit)``, else drawn from `slab`.

    Parameters
    ----------
    slab : Gaussian
    logit : Tensor or float
        Log-odds of being on.

    References
    ----------
    Tonolini, Jensen & Murray-Smith, Variational sparse coding, UAI 2020, eq. 2-6. Maddison, Mnih & Teh, The concrete
    distribution, ICLR 2017, eq. 9, for the gate.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Gaussian, SpikeAndSlab
    >>> law = SpikeAndSlab(Gaussian(torch.ones(4), torch.ones(4)), torch.zeros(4))
    >>> law.mean.tolist()
    [0.5, 0.5, 0.5, 0.5]
    """

    slab: Gaussian
    logit: Any

    @staticmethod
    def draw_gate_noise(shape, generator: torch.Generator, like: Tensor) -> Tensor:
        """Return standard logistic draws."""
        uniform = torch.empty(shape, dtype=like.dtype, device=like.device)
        eps = torch.finfo(like.dtype).eps
        return torch.logit(uniform.uniform_(eps, 1 - eps, generator=generator))

    def gate(self, gate_noise: Tensor, temperature: float) -> Tensor:
        """Return gates, 0 or 1, that are on with probability ``sigmoid(logit)``.

        Their derivative is that of ``sigmoid((logit + noise) / temperature)``: lower temperatures have less bias
        and more variance.
        """
        return _StraightThroughGate.apply(self.logit + gate_noise, temperature)

    @property
    def activation_probability(self) -> Tensor:
        """Probability of not being zero."""
        return torch.sigmoid(self.logit)

    @property
    def mean(self) -> Tensor:
        """Mean of the variables, ``P(on) loc``."""
        return self.activation_probability * self.slab.loc

    @property
    def variance(self) -> Tensor:
        """Variance of the variables, ``P(on) P(off) loc^2 + P(on) scale^2``."""
        on = self.activation_probability
        return on * ((1 - on) * self.slab.loc.square() + self.slab.variance)

    @property
    def median(self) -> Tensor:
        """Median of the variables; exactly zero wherever zero has half of the mass on either side."""
        loc, on = self.slab.loc, self.activation_probability
        # For loc > 0 and a median m > 0: P(z > m) = on P(s - loc > m - loc) = 1/2, s from the slab.
        outer = (0.5 / on.clamp_min(0.5)).clamp_max(1 - torch.finfo(on.dtype).eps)
        distance = loc.abs() + self.slab.upper_quantile(outer)
        return torch.where(on > 0.5, distance.clamp_min(0), torch.zeros_like(loc)) * loc.sign()

    @property
    def natural(self) -> tuple[Tensor, Tensor, Tensor]:
        """Factors of 1, of z and of ``z^2`` in the log-density of z where it is on, over the probability of zero.

        That is ``log-odds - loc^2 / (2 v) - 1/2 log v``, ``loc / v`` and ``-1 / (2 v)`` for a slab of variance v.
        """
        loc, variance = self.slab.loc, self.slab.variance
        gate = self.logit - loc.square() / (2 * variance) - 0.5 * variance.log()
        return gate, loc / variance, -1 / (2 * variance)

    @classmethod
    def from_natural(cls, gate: Tensor, linear: Tensor, square: Tensor) -> "SpikeAndSlab":
        """Return the law with these :attr:`natural` parameters; `square` is negative."""
        variance = -1 / (2 * square)
        loc = linear * variance
        return cls(Gaussian(loc, variance.sqrt()), gate + loc.square() / (2 * variance) + 0.5 * variance.log())

    def where(self, chosen: Tensor, other: "SpikeAndSlab") -> "SpikeAndSlab":
        """Return the law with the parameters of `other` where `chosen` is true."""
        loc, scale = (
            torch.where(chosen, getattr(other.slab, name), getattr(self.slab, name)) for name in ("loc", "scale")
        )
        return SpikeAndSlab(Gaussian(loc, scale), torch.where(chosen, other.logit, self.logit))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of zeros and the log-density of other values."""
        return torch.where(value == 0, logsigmoid(-self.logit), logsigmoid(self.logit) + self.slab.log_prob(value))
