"""The written objectives, term by term, with values and closed-form gradients, and the problems to solve."""

from skvardict.energies.losses import linear_reconstruction_loss
from skvardict.energies.problems import DecoderProblem, LinearProblem, Penalties
from skvardict.energies.scale import from_sklearn_alpha, to_sklearn_alpha
from skvardict.energies.terms import (
    coupling,
    coupling_gradient,
    l1_norm,
    linear_reconstruction_gradient,
    reconstruction,
    variance_hinge,
    variance_hinge_gradient,
)

__all__ = [
    "DecoderProblem",
    "LinearProblem",
    "Penalties",
    "coupling",
    "coupling_gradient",
    "from_sklearn_alpha",
    "l1_norm",
    "linear_reconstruction_gradient",
    "linear_reconstruction_loss",
    "reconstruction",
    "to_sklearn_alpha",
    "variance_hinge",
    "variance_hinge_gradient",
]
