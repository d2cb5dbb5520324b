"""What may be rows: 2-D arrays and dense tensors of finite real numbers, and frames that become such arrays."""

from math import isfinite

import numpy as np
import torch
from sklearn.utils.validation import check_array, validate_data
from torch import Tensor

BLOCK_ENTRIES = 2**21  # 8 MB of float32
_FEW_ENTRIES = 2**14  # whose sum costs less than making a tensor of them


def validate_rows(estimator, X, *, reset: bool):
    """Return `X` as 2-D array or tensor of real numbers; check or set the features of `estimator`.

    Arrays of any real dtype and tensors come back as they are: a conversion here would copy a memory map.
    """
    if isinstance(X, Tensor):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return _check_tensor(estimator, X)
    if not reset and _is_plain(estimator, X):
        return X
    return validate_data(estimator, X, reset=reset, dtype=_dtype_to_check(X), ensure_all_finite=False)


def validate_columns(estimator, X, name: str):
    """Return `X`, called `name`, like `validate_rows`; as results of `transform` it may have other feature names."""
    names, expected = list(getattr(X, "columns", ())), list(getattr(estimator, "feature_names_in_", ()))
    if names != expected and sorted(map(str, names)) == sorted(expected):
        raise ValueError(
            f"{type(estimator).__name__} was fitted on the features {expected[:5]}, ..., but {name} has them "
            "in another order. Reorder its columns."
        )
    if isinstance(X, Tensor):
        X = _check_tensor(estimator, X)
    else:
        X = check_array(X, dtype=_dtype_to_check(X), ensure_all_finite=False, input_name=name)
    if X.shape[1] != getattr(estimator, "n_features_in_", X.shape[1]):  # what needs no fit may have none
        raise ValueError(
            f"{type(estimator).__name__} was fitted on {estimator.n_features_in_} features, "
            f"but {name} has {X.shape[1]}. Pass rows with the features of the fit."
        )
    return X


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
    """Return the dtype of results: float64 of any byte order stays float64, everything else becomes float32."""
    if isinstance(X, Tensor):
        return torch.float64 if X.dtype == torch.float64 else torch.float32
    return np.float64 if X.dtype.newbyteorder("=") == np.float64 else np.float32


def to_array(values) -> np.ndarray:
    """Return array-likes and tensors, wherever they are, as an array."""
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


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


def _dtype_to_check(X):
    is_real = isinstance(X, np.ndarray) and X.dtype.kind in "biuf"
    return None if is_real else [np.float32, np.float64]


def _check_tensor(estimator, X: Tensor) -> Tensor:
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
    return X
