"""Pure functions on tensors. All accept leading batch axes: ``(..., n, k)`` codes, ``(..., k, d)`` atoms."""

from skvardict.functional.dictionary_update import quadratic_error, ridge_atoms, unit_norm_sweep_
from skvardict.functional.linalg import (
    affine,
    gram,
    inner_product,
    power_iteration,
    schatten_bound,
    spectral_norm_squared,
)
from skvardict.functional.moments import (
    HingeConstants,
    Moments,
    batch_moments,
    count_active,
    hinge_constants,
    hinge_of_std,
    hinge_pull,
    mean_and_std,
    merged_moments,
    pooled_r2,
    std_of,
)
from skvardict.functional.prox import soft_threshold

__all__ = [
    "HingeConstants",
    "Moments",
    "affine",
    "batch_moments",
    "count_active",
    "gram",
    "hinge_constants",
    "hinge_of_std",
    "hinge_pull",
    "inner_product",
    "mean_and_std",
    "merged_moments",
    "pooled_r2",
    "power_iteration",
    "quadratic_error",
    "ridge_atoms",
    "schatten_bound",
    "soft_threshold",
    "spectral_norm_squared",
    "std_of",
    "unit_norm_sweep_",
]
