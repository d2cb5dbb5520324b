"""Pure functions on tensors. All accept leading batch axes: ``(..., n, k)`` codes, ``(..., k, d)`` atoms."""

from skvardict.functional.devices import LateAnswer, number_like, numbers_like, to_device, to_host
from skvardict.functional.dictionary_update import (
    atom_sweep_,
    project_atoms,
    quadratic_error,
    ridge_atoms,
    ridge_system,
)
from skvardict.functional.linalg import (
    affine,
    cholesky,
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
    mean_of_rows,
    mean_square,
    merged_moments,
    pooled_r2,
    std_of,
)
from skvardict.functional.prox import soft_threshold
from skvardict.functional.signs import join_signs, split_signs
from skvardict.functional.weights import Weight, add_weighted, is_on, per_batch, per_row, stack_weights

__all__ = [
    "HingeConstants",
    "LateAnswer",
    "Moments",
    "Weight",
    "add_weighted",
    "affine",
    "atom_sweep_",
    "batch_moments",
    "cholesky",
    "count_active",
    "gram",
    "hinge_constants",
    "hinge_of_std",
    "hinge_pull",
    "inner_product",
    "is_on",
    "join_signs",
    "mean_and_std",
    "mean_of_rows",
    "mean_square",
    "merged_moments",
    "number_like",
    "numbers_like",
    "per_batch",
    "per_row",
    "pooled_r2",
    "power_iteration",
    "project_atoms",
    "quadratic_error",
    "ridge_atoms",
    "ridge_system",
    "schatten_bound",
    "soft_threshold",
    "spectral_norm_squared",
    "split_signs",
    "stack_weights",
    "std_of",
    "to_device",
    "to_host",
]
