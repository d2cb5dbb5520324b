"""The laws of codes, one file per law: draws from given noise, log-densities, and divergences between them."""

from skvardict.distributions.cauchy import Cauchy
from skvardict.distributions.gamma import Gamma
from skvardict.distributions.gaussian import Gaussian
from skvardict.distributions.kl import has_closed_form, kl_divergence
from skvardict.distributions.laplace import Laplace
from skvardict.distributions.law import Law
from skvardict.distributions.location_scale import LocationScale, Thresholdable
from skvardict.distributions.spike_and_slab import SpikeAndSlab
from skvardict.distributions.student_t import StudentT
from skvardict.distributions.thresholded import (
    Thresholded,
    gamma_threshold_for,
    shifted_soft_threshold,
    threshold_for,
)

__all__ = [
    "PRIORS",
    "Cauchy",
    "Gamma",
    "Gaussian",
    "Laplace",
    "Law",
    "LocationScale",
    "SpikeAndSlab",
    "StudentT",
    "Thresholdable",
    "Thresholded",
    "gamma_threshold_for",
    "has_closed_form",
    "kl_divergence",
    "shifted_soft_threshold",
    "threshold_for",
]

# The priors that estimators know, by name.
PRIORS: dict[str, type[LocationScale]] = {
    "laplace": Laplace,
    "gaussian": Gaussian,
    "cauchy": Cauchy,
    "student_t": StudentT,
}
