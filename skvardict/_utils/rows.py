"""Rows at the edge of a transformer: checked once, never copied as a whole, arrays and tensors alike."""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor

from skvardict._utils.batches import RowReader

_BLOCK_ENTRIES = 2**21  # 8 MB of float32


def check_rows(estimator, X, *, reset: bool):
    """Return `X` as 2-D array or tensor of finite real numbers; check or set the features of `estimator`.

    Arrays of any real dtype and tensors come back as they are: a conversion here would copy a memory map.
    """
    if isinstance(X, Tensor):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _check_tensor(estimator, X)
    return validate_data(estimator, X, reset=reset, dtype=_dtype_to_check(X))


def check_columns(estimator, X):
    """Return `X` like `check_rows`, but leave feature names alone: results of `transform` may lack them."""
    X = _check_tensor(estimator, X) if isinstance(X, Tensor) else check_array(X, dtype=_dtype_to_check(X))
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on {estimator.n_features_in_} features, "
            f"but X has {X.shape[1]}. Pass rows with the features of the fit."
        )
    return X


def float_dtype(X):
    """Return the dtype of results: float64 stays what it is, everything else becomes float32."""
    library = torch if isinstance(X, Tensor) else np
    return library.float64 if X.dtype == library.float64 else library.float32


def row_blocks(X, dtype: torch.dtype | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Yield the position and the values of blocks of rows, as tensors on the device of `X`.

    The default dtype is that of `float_dtype`.
    """
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    if dtype is None:
        dtype = torch.float64 if float_dtype(X) in (np.float64, torch.float64) else torch.float32
    for start, rows in RowReader(X, device, dtype).slices(max(1, _BLOCK_ENTRIES // X.shape[1])):
        yield slice(start, start + len(rows)), rows


def _dtype_to_check(X):
    is_real = isinstance(X, np.ndarray) and X.dtype.kind in "biuf"
    return None if is_real else [np.float32, np.float64]


def _check_tensor(estimator, X: Tensor) -> Tensor:
    name = type(estimator).__name__
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(
            f"{name} expects a tensor of shape (n_samples, n_features) with at least one row and one "
            f"feature, but got {tuple(X.shape)}. Flatten each sample to one row."
        )
    if X.is_complex():
        raise ValueError(f"{name} expects real numbers, but got {X.dtype}. Pass the real and imaginary parts.")
    if not torch.isfinite(X).all():
        raise ValueError(f"{name} expects finite numbers, but X contains NaN or infinity. Clean the rows first.")
    return X
