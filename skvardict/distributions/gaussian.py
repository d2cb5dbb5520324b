"""The Gaussian law, density ``exp(-(s - loc)^2 / (2 scale^2)) / (scale sqrt(2 pi))``."""

from collections.abc import Callable, Sequence
from functools import cache
from math import log, pi, sqrt
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import gammainc
from torch import Tensor

from skvardict.distributions.gamma import Gamma
from skvardict.distributions.location_scale import Thresholdable

_N_NODES, _LARGEST = 32, 6.5  # of the quadrature over |e|, with random thresholds
# Of the quadrature over thresholds: nodes, and widths on either side of the largest value. Relative error 2e-7 for
# concentrations from 1e-6 to 1e6.
_N_THRESHOLDS, _REACH = 24, 6.0


class _LogIntegral(torch.autograd.Function):
    """``log int_0^inf t^(c-1) exp(-a t - t^2 / 2) dt`` for a >= 0, with its derivatives.

    By parts it is ``-log c + log int t^c (a + t) exp(-a t - t^2 / 2) dt``, without the pole at zero of small c. In the
    cube root of t that is nearly a Gaussian function, and nodes about its largest value sum it.
    """

    @staticmethod
    def forward(ctx, concentration: Tensor, slope: Tensor) -> Tensor:
        c, a = concentration, slope
        top = 2 * (c + 1) / (a + (a.square() + 4 * (c + 1)).sqrt())
        # In units of the top, y its cube root: t = top y^3 at nodes y = low + (high - low) (node + 1) / 2.
        linear, square = a * top, top.square()
        width = _REACH / 3 / (linear + 2 * square).sqrt()
        low, high = (1 - width).clamp_min(0), 1 + width
        total, sum_log, sum_inverse = (torch.zeros_like(linear) for _ in range(3))
        for node, weight in zip(*_legendre_nodes(_N_THRESHOLDS)):  # one at a time: memory stays that of the arguments
            y = torch.lerp(low, high, (node + 1) / 2)
            cube, log_y = y.pow(3), y.log()
            exponent = 3 * c * log_y - linear * (cube - 1) - 0.5 * square * (cube.square() - 1)
            term = exponent.exp_().mul_(y.square_()).mul_(weight)
            if any(ctx.needs_input_grad):
                sum_inverse += term
            term *= linear + square * cube
            total += term
            if ctx.needs_input_grad[0]:
                sum_log += term * log_y
        log_top = top.log()
        ctx.shapes = (c.shape, a.shape)
        ctx.save_for_backward(log_top + 3 * sum_log / total - 1 / c, -c * top * sum_inverse / total)
        largest = c * log_top - linear - 0.5 * square
        return largest + (1.5 * (high - low) * total).log() - c.log()

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        return tuple((grad_output * g).sum_to_size(shape) for g, shape in zip(ctx.saved_tensors, ctx.shapes))


class Gaussian(Thresholdable):
    """Gaussian variables with mean `loc` and standard deviation `scale`.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Gaussian
    >>> round(float(Gaussian(scale=2.0).tail(torch.tensor(2 * 1.96))), 3)
    0.05
    """

    scale_power: ClassVar[int] = 2

    def draw_noise(self, shape: Sequence[int], generator: torch.Generator, like: Tensor) -> Tensor:
        """Return standard normal draws."""
        return torch.empty(shape, dtype=like.dtype, device=like.device).normal_(generator=generator)

    def _log_density(self, value: Tensor) -> Tensor:
        return -0.5 * ((value - self.loc) / self.scale).square() - self.scale.log() - 0.5 * log(2 * pi)

    def entropy(self) -> Tensor:
        """Return ``log(scale sqrt(2 pi e))``, in nats."""
        return self.scale.log() + 0.5 * (1 + log(2 * pi))

    @property
    def variance(self) -> Any:
        """``scale^2``."""
        return self.scale**2

    @property
    def mean_absolute(self) -> Any:
        """``scale sqrt(2 / pi)``."""
        return self.scale * sqrt(2 / pi)

    def tail(self, distance: Tensor) -> Tensor:
        """Return ``erfc(distance / (scale sqrt(2)))``."""
        return torch.erfc(distance / self.scale / sqrt(2))

    def log_tail(self, distance: Tensor) -> Tensor:
        """Return ``log(2 ndtr(-distance / scale))``."""
        return torch.special.log_ndtr(-(distance / self.scale)) + log(2)

    def body(self, distance: Tensor) -> Tensor:
        """Return ``erf(distance / (scale sqrt(2)))``."""
        return torch.erf(distance / self.scale / sqrt(2))

    def excess_square(self, distance: Tensor) -> Tensor:
        """Return ``(scale^2 + distance^2) tail - distance scale sqrt(2 / pi) exp(-(distance / scale)^2 / 2)``."""
        density = self.mean_absolute * torch.exp(-0.5 * (distance / self.scale).square())
        # Far out the two cancel, to rounding errors of either sign.
        return ((self.variance + distance.square()) * self.tail(distance) - distance * density).clamp_min(0)

    def upper_quantile(self, probability: Tensor) -> Tensor:
        """Return q with ``P(s - loc > q) = probability``."""
        return self.scale * -torch.special.ndtri(probability)

    def gamma_tail(self, threshold: Gamma) -> Tensor:
        """Return the mean over ``|e|`` of the Gamma distribution function at ``scale |e|``, by a quadrature."""
        return _mean_over_deviations(self._standardized(threshold).cdf)

    def gamma_body(self, threshold: Gamma) -> Tensor:
        """Return the mean over ``|e|`` of the probability that the threshold is above ``scale |e|``."""
        return _mean_over_deviations(self._standardized(threshold).survival)

    def gamma_log_density(self, distance: Tensor, threshold: Gamma) -> Tensor:
        """Return the logarithm of the mean density at ``loc + distance + t``, by a quadrature over t.

        ``r^c / Gamma(c) exp(-u^2 / 2) / (scale sqrt(2 pi)) int t^(c - 1) exp(-(r + u) t - t^2 / 2) dt`` with the
        concentration c, ``r = rate * scale`` and ``u = distance / scale``.
        """
        u, law = distance / self.scale, self._standardized(threshold)
        # In double precision: at large concentrations numbers of their size cancel.
        c, rate = law.concentration.double(), law.rate.double()
        factor = c * rate.log() - torch.lgamma(c) + _LogIntegral.apply(c, rate + u)
        return factor.to(u.dtype) - 0.5 * u.square() - self.scale.log() - 0.5 * log(2 * pi)

    def _standardized(self, threshold: Gamma) -> Gamma:
        """Return the law of the threshold in units of the scale."""
        return Gamma(threshold.concentration, threshold.rate * self.scale)

    def gamma_mean(self, probability: float, concentration: float) -> float:
        """Return the mean of the threshold's law by bisection; with numpy, whatever torch's device in use."""
        nodes, weights = _half_normal_nodes()

        def excess(log_mean: float) -> float:
            return float(weights @ gammainc(concentration, concentration / np.exp(log_mean) * nodes)) - probability

        return self.scale * float(np.exp(brentq(excess, np.log(1e-6), np.log(1e6))))

    def threshold_at(self, log_odds: Tensor) -> Tensor:
        """Return ``scale`` times the ``1 - sigmoid(log_odds) / 2`` quantile."""
        return self.upper_quantile(0.5 * torch.sigmoid(log_odds))


def _mean_over_deviations(function: Callable[[Any], Tensor]) -> Tensor:
    """Return the mean of the function of ``|e|`` for a standard Gaussian e."""
    total: Any = 0.0
    for node, weight in zip(*_half_normal_nodes()):  # one at a time: memory stays that of the parameters
        total = total + weight * function(node)
    return total


@cache
def _legendre_nodes(n_nodes: int) -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(n_nodes)


def _half_normal_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the mean over ``|e|`` for a standard Gaussian e."""
    # |e| = t^2 takes the pole out that a Gamma density of concentration below one has at zero.
    nodes, weights = _legendre_nodes(_N_NODES)
    root, weights = (nodes + 1) / 2 * np.sqrt(_LARGEST), weights / 2 * np.sqrt(_LARGEST)
    return root**2, weights * 2 * root * np.sqrt(2 / np.pi) * np.exp(-(root**4) / 2)
