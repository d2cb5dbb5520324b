"""The Gamma law, density ``rate^shape s^(shape - 1) exp(-rate s) / Gamma(shape)``, for positive thresholds."""

from dataclasses import dataclass

import torch
from torch import Tensor


class _FixedDraw(torch.autograd.Function):
    """A draw ``noise / rate``, the noise made before, with its implicit derivative in the shape."""

    @staticmethod
    def forward(ctx, shape: Tensor, rate: Tensor, noise: Tensor) -> Tensor:
        ctx.save_for_backward(shape, rate, noise)
        return noise / rate

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        shape, rate, noise = ctx.saved_tensors
        grad_noise = grad_output / rate
        derivative = torch._standard_gamma_grad(shape.expand_as(noise).contiguous(), noise.contiguous())
        gradients = (grad_noise * derivative, -grad_noise * noise / rate)
        return *(g.sum_to_size(of.shape) for g, of in zip(gradients, (shape, rate))), None


@dataclass(frozen=True)
class Gamma:
    """Gamma variables of mean ``shape / rate``.

    Parameters
    ----------
    shape, rate : Tensor
        Positive.

    References
    ----------
    Figurnov, Mohamed & Mnih, Implicit reparameterization gradients, NeurIPS 2018, section 4; the derivative is
    torch's own.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Gamma
    >>> float(Gamma(torch.tensor(3.0), torch.tensor(12.0)).mean)
    0.25
    """

    shape: Tensor
    rate: Tensor

    @property
    def mean(self) -> Tensor:
        """Mean of the variables."""
        return self.shape / self.rate

    def draw_noise(self, n_draws: int, generator: torch.Generator) -> Tensor:
        """Return `n_draws` draws at rate 1; unlike other noise they depend on the shape.

        For shapes of at least one: ``d (1 + w)^3``, d = shape - 1/3, w normal of variance ``1 / (9 d)``, accepted with
        probability ``(1 + w)^(3 d) exp(-3 d (w - w^2/2 + w^3/3))``, 95 % or more on average. All entries get one
        proposal, and torch's own sampler draws anew those that are rejected. For shapes below one: a draw of
        ``shape + 1`` times ``v^(1 / shape)``, where the uniform v is the level that decided about the proposal, divided
        by the probability to accept it: uniform again in those accepted.

        Marsaglia & Tsang, A simple method for generating gamma variables, ACM TOMS 26, 2000, sections 4 and 6.
        """
        shape = self.shape.detach()
        below_one = (shape < 1).to(shape.dtype)
        d = shape + below_one - 1 / 3
        power = below_one / shape
        tiny = torch.finfo(shape.dtype).tiny
        size = (n_draws, *shape.shape)
        log_v = shape.new_empty(size).uniform_(tiny, 1, generator=generator).log_()
        root = shape.new_empty(size).normal_(generator=generator).mul_(d.rsqrt() / 3).add_(1)
        # w as 1 + w was rounded, so that nothing cancels at large shapes.
        w = root - 1
        series = (w * (1 / 3)).sub_(0.5).mul_(w).add_(1).mul_(w)
        log_v.addcmul_(root.log().sub_(series), -3 * d)
        # Not ">= 0": the logarithm is not a number where 1 + w is negative.
        rejected = (log_v < 0).logical_not_().flatten().nonzero().squeeze(1)
        draws = root.pow_(3).mul_(d).mul_(log_v.mul_(power).exp_())
        again = shape.flatten()[rejected % shape.numel()]
        draws.view(-1)[rejected] = torch._standard_gamma(again, generator=generator)
        # A draw at a tiny shape may round to zero, where the derivative has no value.
        return draws.clamp_min_(tiny)

    def sample(self, noise: Tensor) -> Tensor:
        """Return ``noise / rate``, differentiable in both parameters (implicitly in the shape)."""
        return _FixedDraw.apply(self.shape, self.rate, noise)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of `value`, entry by entry."""
        return (
            self.shape * self.rate.log()
            + torch.xlogy(self.shape - 1, value)
            - self.rate * value
            - torch.lgamma(self.shape)
        )
