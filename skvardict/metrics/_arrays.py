"""Inputs of the metrics that compute in float64 on the CPU."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skvardict.rows import as_numbers, to_array


def as_float64(metric: str, name: str, values: ArrayLike | Tensor, axes: tuple[str, ...]) -> NDArray[np.float64]:
    """Return `values` as a finite float64 array with the named axes, none of them empty, or say what is wrong."""
    return as_finite(metric, name, with_axes(metric, name, values, axes))


def with_axes(metric: str, name: str, values: ArrayLike | Tensor, axes: tuple[str, ...]) -> NDArray:
    """Return `values` as an array with the named axes, none of them empty, or say what is wrong."""
    array = to_array(as_numbers(values, f"{metric}: {name}", allow_masked=False))
    if array.ndim != len(axes) or 0 in array.shape:
        raise ValueError(
            f"{metric} expects {name} of shape ({', '.join(axes)}), no axis empty, but got {array.shape}. "
            f"Pass one entry per {axes[-1].removeprefix('n_').removesuffix('s')}."
        )
    return array


def as_finite(metric: str, name: str, array: NDArray) -> NDArray[np.float64]:
    """Return `array` in float64, or say that it is not finite."""
    array = array.astype(np.float64, copy=False)
    if not np.isfinite(array).all():
        raise ValueError(f"{metric} expects finite numbers, but {name} contains NaN or infinity. Take those rows out.")
    return array


def check_same_rows(metric: str, **arrays: NDArray) -> None:
    """Say which arrays have how many rows, where they differ."""
    if len({len(array) for array in arrays.values()}) > 1:
        counts = ", ".join(f"{name} has {len(array)}" for name, array in arrays.items())
        raise ValueError(
            f"{metric} expects the same rows in all arrays, but {counts} rows. Pass values of one sample set."
        )
