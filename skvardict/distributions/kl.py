"""Kullback-Leibler divergences, in closed form where there is one."""

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


def kl_divergence(posterior: Any, prior: Any, sample: Tensor | None = None) -> Tensor:
    """Return ``KL(posterior || prior)`` of every variable, in nats.

    Parameters
    ----------
    posterior, prior : laws
        Pairs with a closed form: Laplace and Laplace, Gaussian and Gaussian, Gaussian and Laplace, Gamma and Gamma,
        spike-and-slab and spike-and-slab. For others the entropy of the posterior is exact and the prior's log-density
        is taken at `sample`. Their parameters are tensors (:meth:`Law.like` makes them so).
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
    appendix B; Tonolini et al. (2020), eq. 6.

    Examples
    --------
    >>> import torch
    >>> from skvardict.distributions import Laplace, kl_divergence
    >>> standard = Laplace(torch.zeros(()), torch.ones(()))
    >>> float(kl_divergence(standard, standard))
    0.0
    """
    pair = (type(posterior), type(prior))
    if pair in _CLOSED_FORMS:
        return _CLOSED_FORMS[pair](posterior, prior)
    if sample is None or not isinstance(posterior, LocationScale):
        names = " and ".join(law.__name__ for law in pair)
        raise TypeError(f"kl_divergence has no closed form for {names}. Pass sample= with a law of known entropy.")
    return -posterior.entropy() - prior.log_prob(sample)


def has_closed_form(posterior: type, prior: type) -> bool:
    """Return whether :func:`kl_divergence` needs no sample for laws of these classes."""
    return (posterior, prior) in _CLOSED_FORMS


def _laplace_laplace(q: Laplace, p: Laplace) -> Tensor:
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


_CLOSED_FORMS: dict[tuple[type, type], Any] = {
    (Laplace, Laplace): _laplace_laplace,
    (Gaussian, Gaussian): _gaussian_gaussian,
    (Gaussian, Laplace): _gaussian_laplace,
    (Gamma, Gamma): _gamma_gamma,
    (SpikeAndSlab, SpikeAndSlab): _spike_and_slab,
}
