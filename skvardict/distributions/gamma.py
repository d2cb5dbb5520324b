"""The Gamma law, density ``rate^c s^(c - 1) exp(-rate s) / Gamma(c)`` with concentration c, for positive thresholds."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from skvardict.distributions.law import Law


class _FixedDraw(torch.autograd.Function):
    """A draw ``noise / rate``, the noise made before, with its implicit derivative in the concentration."""

    @staticmethod
    def forward(ctx, concentration: Tensor, rate: Tensor, noise: Tensor) -> Tensor:
        ctx.save_for_backward(concentration, rate, noise)
        return noise / rate

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        concentration, rate, noise = ctx.saved_tensors
        grad_noise = grad_output / rate
        derivative = torch._standard_gamma_grad(concentration.expand_as(noise).contiguous(), noise.contiguous())
        gradients = (grad_noise * derivative, -grad_noise * noise / rate)
        return *(g.sum_to_size(of.shape) for g, of in zip(gradients, (concentration, rate))), None


class _IncompleteGamma(torch.autograd.Function):
    """Distribution function of the Gamma law of rate 1, or one minus it, with its derivative in the concentration."""

    @staticmethod
    def forward(ctx, concentration: Tensor, value: Tensor, upper: bool) -> Tensor:
        ctx.save_for_backward(concentration, value)
        ctx.sign = -1 if upper else 1
        return (torch.special.gammaincc if upper else torch.special.gammainc)(concentration, value)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        concentration, value = torch.broadcast_tensors(*ctx.saved_tensors)
        density = Gamma(concentration, torch.ones_like(value)).log_prob(value).exp() * ctx.sign * grad_output
        # A draw at a fixed level of probability moves by -(dP / dc) / density.
        moved = torch._standard_gamma_grad(concentration.contiguous(), value.contiguous())
        gradients = (-density * moved, density)
        return *(g.sum_to_size(of.shape) for g, of in zip(gradients, ctx.saved_tensors)), None


@dataclass(frozen=True)
class Gamma(Law):
    """Gamma variables of mean ``concentration / rate``.

    Parameters
    ----------
    concentration, rate : Tensor or float
        Positive.

    References
    ----------
    Figurnov, Mohamed & Mnih, Implicit reparameterization gradients, NeurIPS 2018, section 4; the derivative is
    torch's own.

    Examples
    --------
    >>> from skvardict.distributions import Gamma
    >>> Gamma(3.0, 12.0).mean
    0.25
    """

    concentration: Any
    rate: Any

    @property
    def mean(self) -> Any:
        """Mean of the variables."""
        return self.concentration / self.rate

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return draws at rate 1, with dtype and device of `like`; the last axes of `shape` are the concentration's.

        For concentrations c of at least one: ``d (1 + w)^3``, d = c - 1/3, w normal of variance ``1 / (9 d)``,
        accepted with probability ``(1 + w)^(3 d) exp(-3 d (w - w^2/2 + w^3/3))``, 95 % or more on average. All entries
        get one proposal, and torch's own sampler draws anew those that are rejected. For concentrations below one: a
        draw of ``c + 1`` times ``v^(1 / c)``, where the uniform v is the level that decided about the proposal, divided
        by the probability to accept it: uniform again in those accepted.

        Marsaglia & Tsang, A simple method for generating gamma variables, ACM TOMS 26, 2000, sections 4 and 6.
        """
        concentration = self.like(like).concentration.detach()
        tiny = torch.finfo(like.dtype).tiny
        if like.is_cuda:  # where one kernel draws all of them, and those to be drawn anew could only be waited for
            draws = torch._standard_gamma(concentration.expand(shape).contiguous(), generator=generator)
            return draws.clamp_min_(tiny)
        below_one = (concentration < 1).to(like.dtype)
        d = concentration + below_one - 1 / 3
        power = below_one / concentration
        log_v = like.new_empty(shape).uniform_(tiny, 1, generator=generator).log_()
        root = like.new_empty(shape).normal_(generator=generator).mul_(d.rsqrt() / 3).add_(1)
        # w as 1 + w was rounded, so that nothing cancels at large concentrations.
        w = root - 1
        series = (w * (1 / 3)).sub_(0.5).mul_(w).add_(1).mul_(w)
        log_v.addcmul_(root.log().sub_(series), -3 * d)
        # Not ">= 0": the logarithm is not a number where 1 + w is negative.
        rejected = (log_v < 0).logical_not_().flatten().nonzero().squeeze(1)
        draws = root.pow_(3).mul_(d).mul_(log_v.mul_(power).exp_())
        again = concentration.flatten()[rejected % concentration.numel()]
        draws.view(-1)[rejected] = torch._standard_gamma(again, generator=generator)
        # A draw at a tiny concentration may round to zero, where the derivative has no value.
        return draws.clamp_min_(tiny)

    def sample(self, noise: Tensor) -> Tensor:
        """Return ``noise / rate``, differentiable in both parameters (implicitly in the concentration)."""
        return _FixedDraw.apply(self.concentration, self.rate, noise)

    def cdf(self, value: Tensor) -> Tensor:
        """Return ``P(t <= value)``, differentiable in both parameters; they are tensors."""
        return _IncompleteGamma.apply(self.concentration, self.rate * value, False)

    def survival(self, value: Tensor) -> Tensor:
        """Return ``P(t > value)``, differentiable in both parameters; they are tensors."""
        return _IncompleteGamma.apply(self.concentration, self.rate * value, True)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of `value`, entry by entry."""
        law = self.like(value)
        return (
            law.concentration * law.rate.log()
            + torch.xlogy(law.concentration - 1, value)
            - law.rate * value
            - torch.lgamma(law.concentration)
        )
