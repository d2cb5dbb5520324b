"""Rows at the edge of a transformer: checked once, never copied as a whole, arrays and tensors alike."""

from collections.abc import Iterator

import numpy as np
import torch
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor

from skvardict.rows.batches import MappedPages, RowReader, require_finite

_BLOCK_ENTRIES = 2**21  # 8 MB of float32


def check_rows(estimator, X, *, reset: bool):
    """Return `X` as 2-D array or tensor of finite real numbers; check or set the features of `estimator`.

    Arrays of any real dtype and tensors come back as they are: a conversion here would copy a memory map. The
    numbers of a memory map are checked as its rows are read.
    """
    if isinstance(X, Tensor):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _check_tensor(estimator, X)
    X = validate_data(estimator, X, reset=reset, dtype=_dtype_to_check(X), ensure_all_finite=False)
    return _check_array(estimator, X)


def check_columns(estimator, X, name: str = "X"):
    """Return `X`, called `name`, like `check_rows`; results of `transform` may have other feature names, or none."""
    names, expected = list(getattr(X, "columns", ())), list(getattr(estimator, "feature_names_in_", ()))
    if names != expected and sorted(map(str, names)) == sorted(expected):
        raise ValueError(
            f"{type(estimator).__name__} was fitted on the features {expected[:5]}, ..., but {name} has them "
            "in another order. Reorder its columns."
        )
    if isinstance(X, Tensor):
        X = _check_tensor(estimator, X, name)
    else:
        X = check_array(X, dtype=_dtype_to_check(X), ensure_all_finite=False, input_name=name)
        X = _check_array(estimator, X, name)
    if X.shape[1] != estimator.n_features_in_:
        raise ValueError(
            f"{type(estimator).__name__} was fitted on {estimator.n_features_in_} features, "
            f"but {name} has {X.shape[1]}. Pass rows with the features of the fit."
        )
    return X


def float_dtype(X):
    """Return the dtype of results: float64 stays what it is, everything else becomes float32."""
    library = torch if isinstance(X, Tensor) else np
    return library.float64 if X.dtype == library.float64 else library.float32


def torch_dtype(X) -> torch.dtype:
    """Return the dtype of `float_dtype` as torch's."""
    return torch.float64 if float_dtype(X) in (np.float64, torch.float64) else torch.float32


def row_blocks(X, dtype: torch.dtype | None = None) -> Iterator[tuple[slice, Tensor]]:
    """Yield the position and the values of blocks of rows, as tensors on the device of `X`.

    The default dtype is that of `float_dtype`.
    """
    device = X.device if isinstance(X, Tensor) else torch.device("cpu")
    if dtype is None:
        dtype = torch_dtype(X)
    for start, rows in RowReader(X, device, dtype).slices(max(1, _BLOCK_ENTRIES // X.shape[1])):
        yield slice(start, start + len(rows)), rows


def to_array(values) -> np.ndarray:
    """Return array-likes and tensors, wherever they are, as an array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _dtype_to_check(X):
    is_real = isinstance(X, np.ndarray) and X.dtype.kind in "biuf"
    return None if is_real else [np.float32, np.float64]


def _check_tensor(estimator, X: Tensor, role: str = "X") -> Tensor:
    name = type(estimator).__name__
    if X.layout is not torch.strided:
        raise TypeError(f"{name} expects a dense tensor, but got {X.layout}. Pass X.to_dense().")
    if X.ndim != 2 or 0 in X.shape:
        raise ValueError(
            f"{name} expects a tensor of shape (n_samples, n_features) with at least one row and one "
            f"feature, but got {tuple(X.shape)}. Flatten each sample to one row."
        )
    if X.is_complex():
        raise ValueError(f"{name} expects real numbers, but got {X.dtype}. Pass the real and imaginary parts.")
    require_finite(f"{name}: {role}", X.detach(), 0)
    return X


def _check_array(estimator, X: np.ndarray, role: str = "X") -> np.ndarray:
    if X.dtype.kind == "f" and not MappedPages(X).are_mapped:
        for block, rows in row_blocks(X):
            require_finite(f"{type(estimator).__name__}: {role}", rows, block.start)
    return X
