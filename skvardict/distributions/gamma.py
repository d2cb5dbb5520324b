"""The Gamma law, density ``rate^shape s^(shape - 1) exp(-rate s) / Gamma(shape)``, for positive thresholds."""

from dataclasses import dataclass

import torch
from torch import Tensor


class _FixedDraw(torch.autograd.Function):
    """A standard Gamma draw made before, with its implicit derivative in the shape."""

    @staticmethod
    def forward(ctx, shape: Tensor, draw: Tensor) -> Tensor:
        ctx.save_for_backward(shape, draw)
        return draw.clone()

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        shape, draw = ctx.saved_tensors
        return grad_output * torch._standard_gamma_grad(shape.expand_as(draw).contiguous(), draw.contiguous()), None


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
        """Return `n_draws` draws at rate 1; unlike other noise they depend on the shape."""
        shape = self.shape.detach().expand(n_draws, *self.shape.shape).contiguous()
        # A draw at a tiny shape may round to zero, where the derivative has no value.
        return torch._standard_gamma(shape, generator=generator).clamp_min_(torch.finfo(shape.dtype).tiny)

    def sample(self, noise: Tensor) -> Tensor:
        """Return ``noise / rate``, differentiable in both parameters (implicitly in the shape)."""
        return _FixedDraw.apply(self.shape, noise) / self.rate

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density of `value`, entry by entry."""
        return (
            self.shape * self.rate.log()
            + torch.xlogy(self.shape - 1, value)
            - self.rate * value
            - torch.lgamma(self.shape)
        )
