"""Pure functions on tensors. All accept leading batch axes: ``(..., n, k)`` codes, ``(..., k, d)`` atoms."""

from skvardict.functional.linalg import (
    affine,
    gram,
    power_iteration,
    schatten_bound,
    spectral_norm_squared,
)
from skvardict.functional.moments import (
    HingeScale,
    Moments,
    batch_moments,
    hinge_pull,
    hinge_scale,
    hinge_value,
    mean_and_std,
)
from skvardict.functional.prox import soft_threshold

__all__ = [
    "HingeScale",
    "Moments",
    "affine",
    "batch_moments",
    "gram",
    "hinge_pull",
    "hinge_scale",
    "hinge_value",
    "mean_and_std",
    "power_iteration",
    "schatten_bound",
    "soft_threshold",
    "spectral_norm_squared",
]
