"""Kullback-Leibler divergences, in closed form where there is one."""

from collections.abc import Callable
from math import log, pi, sqrt
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from skvardict.distributions.gamma import Gamma
from skvardict.distributions.gaussian import Gaussian
from skvardict.distributions.laplace import Laplace
from skvardict.distributions.location_scale import LocationScale
from skvardict.distributions.spike_and_slab import SpikeAndSlab
from skvardict.distributions.thresholded import Thresholded, safe_log


def kl_divergence(posterior: Any, prior: Any, sample: Tensor | None = None) -> Tensor:
    """Return ``KL(posterior || prior)`` of every variable, in nats.

    Parameters
    ----------
    posterior, prior : laws
        Pairs with a closed form: Laplace and Laplace, Gaussian and Gaussian, Gaussian and Laplace, Gamma and Gamma,
        spike-and-slab and spike-and-slab; of thresholded laws those with Laplace bases, and those with Gaussian bases
        and fixed thresholds. For other location-scale posteriors the entropy is exact and the prior's log-density is
        taken at `sample`; for other thresholded ones both log-densities are. Their parameters are tensors
        (:meth:`Law.like` makes them so).
    sample : Tensor, optional
        Draws from `posterior`; their last axes are those of its parameters.

    Returns
    -------
    divergence : Tensor
        Of the shape of the posterior's parameters, or of `sample` where that is needed.

    Raises
    ------
    TypeError
        If the pair has no closed form and `sample` is not given, or the posterior's entropy is not known.

    References
    ----------
    Jiang & de la Iglesia (2021) after Barello et al. (2018) for Gaussian and Laplace; Fallah & Rozell (2022),
    appendix B; Tonolini et al. (2020), eq. 6. The divergence of thresholded laws, of their atoms and of what is beside
    them, is derived here; Fallah & Rozell train that of the base variables.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Laplace, kl_divergence
    >>> standard = Laplace(torch.zeros(()), torch.ones(()))
    >>> float(kl_divergence(standard, standard))
    0.0
    """
    pair = (type(posterior), type(prior))
    form = _CLOSED_FORMS.get(pair)
    if pair == (Thresholded, Thresholded):
        form = _form_of_thresholded(posterior, prior)
    if form is not None:
        return form(posterior, prior)
    if sample is None or not isinstance(posterior, LocationScale | Thresholded):
        names = " and ".join(law.__name__ for law in pair)
        raise TypeError(f"kl_divergence has no closed form for {names}. Pass sample= with a law of known entropy.")
    if isinstance(posterior, Thresholded):
        return posterior.log_prob(sample) - prior.log_prob(sample)
    return -posterior.entropy() - prior.log_prob(sample)


def has_closed_form(posterior: type, prior: type) -> bool:
    """Return whether :func:`kl_divergence` needs no sample for laws of these classes, whatever their parameters."""
    return (posterior, prior) in _CLOSED_FORMS


def _laplace_laplace(q: LocationScale, p: LocationScale) -> Tensor:
    distance = (q.loc - p.loc).abs()
    return (distance + q.scale * torch.exp(-distance / q.scale)) / p.scale + (p.scale / q.scale).log() - 1


def _gaussian_gaussian(q: Gaussian, p: Gaussian) -> Tensor:
    ratio = q.scale / p.scale
    return 0.5 * (((q.loc - p.loc) / p.scale).square() + ratio.square() - 1) - ratio.log()


def _gaussian_laplace(q: Gaussian, p: Laplace) -> Tensor:
    distance = q.loc - p.loc
    standardized = distance / q.scale
    mean_absolute = q.scale * sqrt(2 / pi) * torch.exp(-0.5 * standardized.square())
    mean_absolute = mean_absolute + distance * torch.erf(standardized / sqrt(2))
    return mean_absolute / p.scale + p.scale.log() + log(2) - q.entropy()


def _gamma_gamma(q: Gamma, p: Gamma) -> Tensor:
    # Detached twice, since the derivatives of these two in the concentration cancel: digamma - lgamma' = 0.
    fixed = q.concentration.detach()
    value = (fixed - p.concentration) * torch.digamma(q.concentration)
    value = value - torch.lgamma(fixed) + torch.lgamma(p.concentration)
    return value + p.concentration * (q.rate / p.rate).log() + q.concentration * (p.rate / q.rate - 1)


def _spike_and_slab(q: SpikeAndSlab, p: SpikeAndSlab) -> Tensor:
    on = q.activation_probability
    gate = on * (logsigmoid(q.logit) - logsigmoid(p.logit))
    gate = gate + (1 - on) * (logsigmoid(-q.logit) - logsigmoid(-p.logit))
    return gate + on * _gaussian_gaussian(q.slab, p.slab)


def _form_of_thresholded(q: Thresholded, p: Thresholded) -> Callable[[Thresholded, Thresholded], Tensor] | None:
    bases = {type(q.base), type(p.base)}
    if bases == {Laplace}:
        return _thresholded_laplace
    is_fixed = not (q.has_random_threshold or p.has_random_threshold)
    return _thresholded_gaussian if bases == {Gaussian} and is_fixed else None


def _of_atoms(q: Thresholded, p: Thresholded) -> Tensor:
    """Return the share of the atoms, ``q(0) log(q(0) / p(0))``."""
    off = q.off_probability
    return off * torch.where(off > 0, safe_log(off) - safe_log(p.off_probability), 0)


def _thresholded_laplace(q: Thresholded, p: Thresholded) -> Tensor:
    # Beside the atom there is a Laplace law of the base's parameters, for fixed and for Gamma thresholds.
    log_on, prior_log_on = (
        law.base.gamma_log_tail(law.threshold) if law.has_random_threshold else law.base.log_tail(law.threshold)
        for law in (q, p)
    )
    return _of_atoms(q, p) + log_on.exp() * (log_on - prior_log_on + _laplace_laplace(q.base, p.base))


def _thresholded_gaussian(q: Thresholded, p: Thresholded) -> Tensor:
    """Return the divergence for fixed thresholds t and t0, by moments of ``y = z - loc`` over the part that is on.

    There ``log(q / p) = -(|y| + t)^2 / (2 scale^2) + (|y + m| + t0)^2 / (2 scale0^2) + log(scale0 / scale)`` with the
    distance m of the locations, and as y is symmetric, |y + m| has the mean of max(|y|, |m|).
    """
    distance = (q.base.loc - p.base.loc).abs()
    on, density = q.activation_probability, _half_normal_density(q.threshold / q.base.scale)
    cut = q.threshold / q.base.scale
    square = q.base.scale.square() * ((1 + cut.square()) * on - cut * density) + distance.square() * on
    beyond = (q.threshold + distance) / q.base.scale
    absolute = distance * on + q.base.scale * (
        _half_normal_density(beyond) - beyond * q.base.tail(q.threshold + distance)
    )
    expected = (square + p.threshold * (2 * absolute + p.threshold * on)) / (2 * p.base.scale.square())
    own = 0.5 * (on + cut * density)
    return _of_atoms(q, p) + expected - own + on * (p.base.scale / q.base.scale).log()


def _half_normal_density(value: Tensor) -> Tensor:
    return sqrt(2 / pi) * torch.exp(-0.5 * value.square())


_CLOSED_FORMS: dict[tuple[type, type], Any] = {
    (Laplace, Laplace): _laplace_laplace,
    (Gaussian, Gaussian): _gaussian_gaussian,
    (Gaussian, Laplace): _gaussian_laplace,
    (Gamma, Gamma): _gamma_gamma,
    (SpikeAndSlab, SpikeAndSlab): _spike_and_slab,
}
