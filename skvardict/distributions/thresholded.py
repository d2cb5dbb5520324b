"""Shifted soft thresholding: exact zeros from continuous variables, without discrete ones.

    T(s) = sign(s - loc) max(|s - loc| - threshold, 0) + 1[|s - loc| > threshold] loc

A Laplace variable becomes a spike-and-slab variable that is on with probability ``exp(-threshold / scale)``
(Fallah & Rozell, 2022, proposition 3.1).
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import torch
from scipy.optimize import brentq
from scipy.special import gammainc
from torch import Tensor

from skvardict.distributions.gamma import Gamma
from skvardict.distributions.gaussian import Gaussian
from skvardict.distributions.laplace import Laplace
from skvardict.distributions.location_scale import LocationScale

_N_NODES, _LARGEST = 32, 6.5  # of the quadrature over |e| for a Gaussian e, with random thresholds


class _ShiftedSoftThreshold(torch.autograd.Function):
    @staticmethod
    def forward(ctx, deviation: Tensor, loc: Tensor, threshold: Tensor, straight_through: bool) -> Tensor:
        shrunk = deviation - deviation.clamp(-threshold, threshold)
        active = shrunk != 0
        ctx.save_for_backward(shrunk)
        ctx.straight_through = straight_through
        ctx.shapes = (deviation.shape, loc.shape, threshold.shape)
        return shrunk.add(loc).mul_(active)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        (shrunk,) = ctx.saved_tensors
        passed = grad_output if ctx.straight_through else grad_output * (shrunk != 0)
        to_threshold = -grad_output * shrunk.sign() if ctx.needs_input_grad[2] else None
        gradients = (passed, passed, to_threshold)
        return *(g if g is None else g.sum_to_size(shape) for g, shape in zip(gradients, ctx.shapes)), None


def shifted_soft_threshold(deviation: Tensor, loc: Tensor, threshold: Tensor, *, straight_through: bool) -> Tensor:
    """Return ``T(loc + deviation)``; entries whose deviation does not exceed the threshold are exactly zero.

    Parameters
    ----------
    deviation : Tensor
        ``s - loc``.
    loc, threshold : Tensor
        Broadcastable to `deviation`; `threshold` is non-negative.
    straight_through : bool
        Whether gradients of `deviation` and `loc` skip T (eq. 4 of Fallah & Rozell), or else are its own: those of
        zeros are zero. The gradient of `threshold` is ``-sign(deviation)`` where active, either way.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import shifted_soft_threshold
    >>> loc, threshold = torch.tensor(5.0), torch.tensor(1.0)
    >>> shifted_soft_threshold(torch.tensor([-3.0, 0.5, 2.0]), loc, threshold, straight_through=True).tolist()
    [3.0, 0.0, 6.0]
    """
    return _ShiftedSoftThreshold.apply(deviation, loc, threshold, straight_through)


@dataclass(frozen=True)
class Thresholded:
    """The law of ``T(s)``, s from `base`, for a fixed or a Gamma threshold.

    Parameters
    ----------
    base : Laplace or Gaussian
    threshold : Tensor or Gamma

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Laplace, Thresholded
    >>> law = Thresholded(Laplace(torch.tensor(0.2), torch.tensor(0.1)), torch.tensor(0.23))
    >>> round(float(law.activation_probability), 3), round(float(law.mean), 3), float(law.median)
    (0.1, 0.02, 0.0)
    """

    base: LocationScale
    threshold: Tensor | Gamma

    @property
    def shape(self) -> torch.Size:
        """Shape of the parameters."""
        return self.base.shape

    @property
    def activation_probability(self) -> Tensor:
        """Probability of not being zero."""
        return activation_probability(type(self.base), self.base.scale, self.threshold)

    @property
    def mean(self) -> Tensor:
        """Mean of the variables: ``P(on) loc``, because the law given on is symmetric about `loc`."""
        return self.activation_probability * self.base.loc

    @property
    def median(self) -> Tensor:
        """Median of the variables, exactly zero wherever fewer than half are on; a Gamma threshold counts as its mean.

        For ``loc > 0`` and on with probability p > 1/2 it solves ``P(e < (m - loc - threshold) / scale) = p - 1/2``.
        """
        base = self.base
        threshold = self.threshold.mean if isinstance(self.threshold, Gamma) else self.threshold
        on = type(base).tail(threshold / base.scale)
        tail = (on - 0.5).clamp_min(torch.finfo(on.dtype).tiny)
        magnitude = base.loc.abs() + threshold - base.scale * type(base).upper_quantile(tail)
        return torch.where(on > 0.5, magnitude.clamp_min(0), torch.zeros_like(magnitude)) * base.loc.sign()


def activation_probability(law: type[LocationScale], scale: Tensor, threshold: Tensor | Gamma) -> Tensor:
    """Return ``P(|s - loc| > threshold)`` for s of the given law and scale, the probability of not being zero.

    For a Gamma threshold of shape a and rate r: ``(1 + 1 / (r scale))^-a`` (Laplace), a quadrature (Gaussian).

    Parameters
    ----------
    law : Laplace or Gaussian
        The class.
    scale : Tensor
    threshold : Tensor or Gamma

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Laplace, activation_probability
    >>> round(float(activation_probability(Laplace, torch.tensor(0.1), torch.tensor(0.25))), 3)
    0.082
    """
    if not isinstance(threshold, Gamma):
        return law.tail(threshold / scale)
    if law is Laplace:
        return torch.exp(-threshold.shape * torch.log1p(1 / (threshold.rate * scale)))
    _check_gaussian(law)
    # P(threshold < scale |e|): the Gamma distribution function, averaged over a Gaussian e.
    total = torch.zeros_like(threshold.rate * scale)
    for node, weight in zip(*_half_normal_nodes()):  # one at a time: memory stays that of the parameters
        total = total + weight * torch.special.gammainc(threshold.shape, threshold.rate * scale * node)
    return total


def _half_normal_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return nodes and weights of the mean over ``|e|`` for a standard Gaussian e."""
    # |e| = t^2 takes the pole out that a Gamma density of shape below one has at zero.
    nodes, weights = np.polynomial.legendre.leggauss(_N_NODES)
    root, weights = (nodes + 1) / 2 * np.sqrt(_LARGEST), weights / 2 * np.sqrt(_LARGEST)
    return root**2, weights * 2 * root * np.sqrt(2 / np.pi) * np.exp(-(root**4) / 2)


def threshold_for(law: type[LocationScale], scale: float, probability: float) -> float:
    """Return the threshold that leaves a centred variable on with the given probability.

    Laplace: ``-scale log(probability)``; Gaussian: ``scale`` times the ``1 - probability / 2`` quantile.

    Parameters
    ----------
    law : Laplace or Gaussian
    scale : float
    probability : float in (0, 1)

    Examples
    --------
    >>> from skvardict.distributions import Gaussian, Laplace, threshold_for
    >>> round(threshold_for(Laplace, 0.1, 0.1), 4), round(threshold_for(Gaussian, 0.1**0.5, 0.1), 2)
    (0.2303, 0.52)
    """
    _check_arguments("threshold_for", scale, probability)
    return scale * float(law.upper_quantile(_number(probability / 2)))


def gamma_threshold_for(law: type[LocationScale], scale: float, probability: float, shape: float = 3.0) -> float:
    """Return the mean of the Gamma threshold that leaves a centred variable on with the given probability p.

    Laplace: ``scale shape (p^(-1 / shape) - 1)``; Gaussian: found by bisection on a quadrature.

    Parameters
    ----------
    law : Laplace or Gaussian
    scale : float
    probability : float in (0, 1)
    shape : float, default=3.0

    Examples
    --------
    >>> from skvardict.distributions import Laplace, gamma_threshold_for
    >>> round(gamma_threshold_for(Laplace, 0.1, 0.1), 3)
    0.346
    """
    _check_arguments("gamma_threshold_for", scale, probability)
    if law is Laplace:
        return scale * shape * (probability ** (-1 / shape) - 1)
    _check_gaussian(law)
    nodes, weights = _half_normal_nodes()

    def excess(log_mean: float) -> float:
        return float(weights @ gammainc(shape, shape / np.exp(log_mean) * nodes)) - probability

    return scale * float(np.exp(brentq(excess, np.log(1e-6), np.log(1e6))))


def _check_gaussian(law: type[LocationScale]) -> None:
    if law is not Gaussian:
        raise TypeError(f"Gamma thresholds need a Laplace or Gaussian base, but got {law.__name__}.")


def _check_arguments(function: str, scale: float, probability: float) -> None:
    if not 0 < probability < 1:
        raise ValueError(f"{function} expects a probability between 0 and 1, both excluded, but got {probability!r}.")
    if not 0 < scale < inf:
        raise ValueError(f"{function} expects a positive scale, but got {scale!r}.")


def _number(value: float) -> Tensor:
    # On the CPU even where models are sketched on the device "meta", which has no numbers.
    return torch.tensor(value, dtype=torch.float64, device="cpu")
