"""The laws of codes, one file per law: draws from given noise, log-densities, and divergences between them."""

from skvardict.distributions.cauchy import Cauchy
from skvardict.distributions.gamma import Gamma
from skvardict.distributions.gaussian import Gaussian
from skvardict.distributions.kl import kl_divergence
from skvardict.distributions.laplace import Laplace
from skvardict.distributions.location_scale import LocationScale
from skvardict.distributions.spike_and_slab import SpikeAndSlab
from skvardict.distributions.thresholded import (
    Thresholded,
    activation_probability,
    gamma_threshold_for,
    shifted_soft_threshold,
    threshold_for,
)

__all__ = [
    "Cauchy",
    "Gamma",
    "Gaussian",
    "Laplace",
    "LocationScale",
    "SpikeAndSlab",
    "Thresholded",
    "activation_probability",
    "gamma_threshold_for",
    "kl_divergence",
    "shifted_soft_threshold",
    "threshold_for",
]
