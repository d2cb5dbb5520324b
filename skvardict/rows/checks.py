"""What may be rows: 2-D arrays and dense tensors of finite real numbers, and frames that become such arrays."""

from math import isfinite
from typing import Any

import numpy as np
import torch
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor

from skvardict._sklearn import check_features, gives_frames
from skvardict._utils.types import Array
from skvardict.rows.numbers import as_numbers

BLOCK_ENTRIES = 2**21  # 8 MB of float32
_DOUBLE = 8  # bytes
_FEW_ENTRIES = 2**14  # whose sum costs less than making a tensor of them


def validate_rows(estimator, X, *, reset: bool):
    """Return `X` as 2-D array or tensor of real numbers; check or set the features of `estimator`.

    Arrays of any real dtype and tensors come back as they are: a conversion here would copy a memory map.
    """
    if not reset and _is_plain(estimator, X):
        return X
    numbers = _numbers(estimator, X, "X")
    if isinstance(X, Tensor):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
    elif numbers is X:
        return validate_data(estimator, X, reset=reset, dtype=None, ensure_all_finite=False)
    else:
        check_features(estimator, X, numbers, reset=reset)
    return _check_matrix(estimator, numbers, "X")


def validate_columns(estimator, X, name: str):
    """Return `X`, called `name`, like `validate_rows`; as results of `transform` it may have other feature names."""
    names, expected = list(getattr(X, "columns", ())), list(getattr(estimator, "feature_names_in_", ()))
    if names != expected and sorted(map(str, names)) == sorted(expected):
        raise ValueError(
            f"{type(estimator).__name__} was fitted on the features {expected[:5]}, ..., but {name} has them "
            "in another order. Reorder its columns."
        )
    X = _check_matrix(estimator, _numbers(estimator, X, name), name)
    if X.shape[1] != getattr(estimator, "n_features_in_", X.shape[1]):  # what needs no fit may have none
        raise ValueError(
            f"{type(estimator).__name__} was fitted on {estimator.n_features_in_} features, "
            f"but {name} has {X.shape[1]}. Pass rows with the features of the fit."
        )
    return X


def check_matrix(X: Any, name: str) -> Array:
    """Return `X`, called `name`, as an array or tensor of finite real numbers with rows and columns."""
    numbers = as_numbers(X, name, allow_masked=False)
    if isinstance(numbers, Tensor):
        _check_axes(numbers, name)
        require_finite(name, numbers.detach(), 0)
        return numbers
    if type(numbers) is np.ndarray and numbers.ndim == 2 and numbers.size and np.isfinite(numbers.sum()):
        return numbers  # after one pass: scikit-learn's checks cost more than the codes of a row
    return check_array(numbers, dtype=None, input_name=name)


def require_finite(name: str, block: Tensor, rows: Tensor | int, *, allow_nan: bool = False) -> None:
    """Raise a ValueError that names the rows of `block` that are not finite; `rows` are their numbers, or the first."""
    if allow_nan and block.is_floating_point():
        block = block.nan_to_num(nan=0.0, posinf=torch.inf, neginf=-torch.inf)
    # The sum is one pass without a copy; where it overflows, the entries decide.
    if not block.is_floating_point() or bool(torch.isfinite(block.sum())) or bool(torch.isfinite(block).all()):
        return
    bad = (~torch.isfinite(block)).any(dim=1).nonzero().squeeze(1).cpu()
    numbers = rows[bad].sort().values.tolist() if isinstance(rows, Tensor) else (bad + rows).tolist()
    listed = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    raise ValueError(
        f"{name} contains {'infinity' if allow_nan else 'NaN or infinity'} in {len(numbers)} of the {len(block)} rows "
        f"read last: row {listed}. Remove or repair these rows."
    )


def has_finite_sum(X: np.ndarray) -> bool:
    """Return whether a small array has a finite sum, and so finite entries; false decides nothing."""
    if X.size > _FEW_ENTRIES:
        return False
    with np.errstate(all="ignore"):
        return isfinite(X.sum())


def float_dtype(X):
    """Return the dtype of results: float64 of any byte order stays float64, everything shorter becomes float32."""
    if isinstance(X, Tensor):
        return torch.float64 if X.dtype == torch.float64 else torch.float32
    return np.float64 if X.dtype.kind == "f" and X.dtype.itemsize >= _DOUBLE else np.float32


def to_array(values) -> np.ndarray:
    """Return array-likes and tensors, wherever they are, as an array."""
    if not isinstance(values, Tensor):
        return np.asarray(values)
    values = values.detach().cpu()
    return (values.float() if values.dtype == torch.bfloat16 else values).numpy()  # numpy has no such type


def shape_of(values) -> tuple[int, ...] | None:
    """Return the shape of an array-like; None where it has none, of rows of several lengths for instance."""
    if isinstance(values, Tensor) and values.is_nested:
        return None
    try:
        shape = values.shape if hasattr(values, "shape") else np.asarray(values).shape
        return tuple(shape)
    except ValueError:
        return None


def has_columns(y) -> bool:
    """Return whether `y` has two axes, and is rows to compare with, not labels; or whether reading it will say why."""
    shape = shape_of(y)
    return shape is None or len(shape) == 2


def for_output(estimator, values):
    """Return results of `transform`; where frames are made of them, as by ``set_output``, tensors become arrays."""
    return to_array(values) if isinstance(values, Tensor) and gives_frames(estimator) else values


def _is_plain(estimator, X) -> bool:
    """Return whether `X` is an array that scikit-learn gives back as it is, after checks as costly as a code."""
    return (
        type(X) is np.ndarray
        and X.ndim == 2
        and X.dtype.kind in "biuf"
        and len(X) > 0
        and X.shape[1] == getattr(estimator, "n_features_in_", 0) > 0
        and not hasattr(estimator, "feature_names_in_")
    )


def _numbers(estimator, X, name: str):
    allow_masked = getattr(estimator, "_allows_missing", False)
    return as_numbers(X, f"{type(estimator).__name__}: {name}", allow_masked=allow_masked)


def _check_matrix(estimator, X, name: str):
    """Return `X` if it has rows and columns."""
    if isinstance(X, Tensor):
        return _check_axes(X, f"{type(estimator).__name__}: {name}")
    return check_array(X, dtype=None, ensure_all_finite=False, estimator=estimator, input_name=name)


def _check_axes(X: Tensor, name: str) -> Tensor:
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(
            f"{name}: expected a tensor of shape (n_samples, n_features) with at least one row and one "
            f"feature, but got {tuple(X.shape)}. Flatten each sample to one row."
        )
    return X
