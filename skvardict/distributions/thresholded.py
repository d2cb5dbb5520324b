"""Shifted soft thresholding: exact zeros from continuous variables, without discrete ones.

    T(s) = sign(s - loc) max(|s - loc| - threshold, 0) + 1[|s - loc| > threshold] loc

A Laplace variable becomes a spike-and-slab variable that is on with probability ``exp(-threshold / scale)``
(Fallah & Rozell, 2022, proposition 3.1). In general the law of T(s) has an atom at zero, of the probability that s is
within the threshold, and beside it the density of s at ``loc + d + threshold`` for values at a distance d from `loc`: T
moves values by the threshold, one to one, so that no other factor comes in. A random threshold is averaged over.
"""

from dataclasses import dataclass
from math import inf
from typing import Any

import torch
from torch import Tensor

from skvardict.distributions.gamma import Gamma
from skvardict.distributions.law import Law
from skvardict.distributions.location_scale import LocationScale, Thresholdable


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
class Thresholded(Law):
    """The law of ``T(s)``, s from `base`, for a fixed or a Gamma threshold t.

    An atom at zero of probability ``P(|s - loc| <= t)``, and the density ``f(|z - loc| + t)`` elsewhere, f being that
    of ``s - loc``; both are means over t where it is random.

    Parameters
    ----------
    base : Laplace or Gaussian
        Or another :class:`Thresholdable` law.
    threshold : Tensor, float or Gamma

    Raises
    ------
    TypeError
        If `base` cannot be thresholded.

    References
    ----------
    Fallah & Rozell, Variational sparse coding with learned thresholding, ICML 2022, eq. 2, proposition 3.1, appendix B.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Laplace, Thresholded
    >>> law = Thresholded(Laplace(torch.tensor(0.2), torch.tensor(0.1)), torch.tensor(0.23))
    >>> round(float(law.activation_probability), 3), round(float(law.mean), 3), float(law.median)
    (0.1, 0.02, 0.0)
    """

    base: Thresholdable
    threshold: Any

    def __post_init__(self):
        _check_thresholdable("Thresholded", self.base)

    @property
    def has_random_threshold(self) -> bool:
        """Whether the threshold is from a Gamma law."""
        return isinstance(self.threshold, Gamma)

    @property
    def mean_threshold(self) -> Any:
        """Threshold, or the mean of a random one."""
        return self.threshold.mean if self.has_random_threshold else self.threshold

    @property
    def activation_probability(self) -> Tensor:
        """Probability ``P(|s - loc| > threshold)`` of not being zero."""
        tail = self.base.gamma_tail if self.has_random_threshold else self.base.tail
        return tail(self.threshold)

    @property
    def off_probability(self) -> Tensor:
        """Probability of being zero, precise where it is small."""
        body = self.base.gamma_body if self.has_random_threshold else self.base.body
        return body(self.threshold)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of zeros and the log-density of other values, entry by entry.

        A threshold of zero leaves the base law, without an atom.

        Parameters
        ----------
        value : Tensor
            Its last axes are those of the parameters.

        Returns
        -------
        log_prob : Tensor
            Of the shape that `value` and the parameters have together. With a Gaussian base and a Gamma threshold it is
            a quadrature over the threshold, of a relative error below 1e-6.
        """
        law = self.like(value)
        off = law.off_probability
        is_off = (value == 0) & (off > 0)
        return torch.where(is_off, safe_log(off), law._log_density(value, ~is_off))

    def _log_density(self, value: Tensor, is_on: Tensor) -> Tensor:
        """Return the log-density of values that are not zero; elsewhere anything."""
        distance = (value - self.base.loc).abs()
        if not self.has_random_threshold:
            return self.base.at_distance(distance + self.threshold)
        # A quadrature is worth its time for values that are on only.
        law = self.picked(is_on)
        density = law.base.gamma_log_density(distance[is_on], law.threshold)
        return torch.zeros_like(distance).masked_scatter(is_on, density)

    @property
    def mean(self) -> Tensor:
        """Mean of the variables: ``P(on) loc``, because the law given on is symmetric about `loc`."""
        return self.activation_probability * self.base.loc

    @property
    def variance(self) -> Tensor:
        """Variance of the variables for a fixed threshold: ``P(on) P(off) loc^2``, and the mean square of the excess.

        Raises
        ------
        TypeError
            If the threshold is random.
        """
        if self.has_random_threshold:
            raise TypeError("The variance of Thresholded is known for fixed thresholds, but the threshold is a Gamma.")
        on = self.activation_probability
        return on * (1 - on) * self.base.loc.square() + self.base.excess_square(self.threshold)

    @property
    def median(self) -> Tensor:
        """Median of the variables, exactly zero wherever fewer than half are on; a Gamma threshold counts as its mean.

        For ``loc > 0`` and on with probability p > 1/2 it solves ``P(s - loc < m - loc - threshold) = p - 1/2``.
        """
        base, threshold = self.base, self.mean_threshold
        on = base.tail(threshold)
        tail = (on - 0.5).clamp_min(torch.finfo(on.dtype).tiny)
        magnitude = base.loc.abs() + threshold - base.upper_quantile(tail)
        return torch.where(on > 0.5, magnitude.clamp_min(0), torch.zeros_like(magnitude)) * base.loc.sign()


def safe_log(probability: Tensor) -> Tensor:
    """Return the logarithm, ``-inf`` at zero with a gradient of zero."""
    is_positive = probability > 0
    return torch.where(is_positive, torch.where(is_positive, probability, 1).log(), -inf)


def threshold_for(law: Thresholdable, probability: float) -> float:
    """Return the threshold that leaves a variable on with the given probability.

    Laplace: ``-scale log(probability)``; Gaussian: ``scale`` times the ``1 - probability / 2`` quantile.

    Parameters
    ----------
    law : Laplace or Gaussian
        Its scale is a number.
    probability : float in (0, 1)

    Examples
    --------
    >>> from skvardict.distributions import Gaussian, Laplace, threshold_for
    >>> round(threshold_for(Laplace(scale=0.1), 0.1), 4), round(threshold_for(Gaussian(scale=0.1**0.5), 0.1), 2)
    (0.2303, 0.52)
    """
    _check_arguments("threshold_for", law, probability)
    # On the CPU even where models are sketched on the device "meta", which has no numbers.
    return float(law.upper_quantile(torch.tensor(probability / 2, dtype=torch.float64, device="cpu")))


def gamma_threshold_for(law: Thresholdable, probability: float, concentration: float = 3.0) -> float:
    """Return the mean of the Gamma threshold that leaves a variable on with the given probability p.

    Laplace: ``scale concentration (p^(-1 / concentration) - 1)``; Gaussian: found by bisection on a quadrature.

    Parameters
    ----------
    law : Laplace or Gaussian
        Its scale is a number.
    probability : float in (0, 1)
    concentration : float, default=3.0
        Of the Gamma law.

    Examples
    --------
    >>> from skvardict.distributions import Laplace, gamma_threshold_for
    >>> round(gamma_threshold_for(Laplace(scale=0.1), 0.1), 3)
    0.346
    """
    _check_arguments("gamma_threshold_for", law, probability)
    return law.gamma_mean(probability, concentration)


def _check_arguments(function: str, law: LocationScale, probability: float) -> None:
    _check_thresholdable(function, law)
    if not 0 < probability < 1:
        raise ValueError(f"{function} expects a probability between 0 and 1, both excluded, but got {probability!r}.")
    if not 0 < law.scale < inf:
        raise ValueError(f"{function} expects a positive scale, but got {law.scale!r}.")


def _check_thresholdable(where: str, law: Any) -> None:
    if not isinstance(law, Thresholdable):
        raise TypeError(
            f"{where} expects a law that can be thresholded (Laplace, Gaussian), but got {type(law).__name__}."
        )
