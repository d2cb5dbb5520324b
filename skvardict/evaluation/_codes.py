"""What one fitted transformer does with rows: codes, and what they reconstruct."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from scipy.sparse import issparse
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict._utils.types import Array, ArrayLike
from skvardict.metrics import dead_components, psnr, r2, sparsity
from skvardict.rows import to_array


@with_defaults
def evaluate_codes(
    estimator: Any,
    X: ArrayLike,
    X_clean: ArrayLike | None = None,
    *,
    to_pixels: Callable[[Any], Any] | None = None,
    data_range: float = 1.0,
) -> dict[str, float]:
    """Return quality and use of the codes that a fitted transformer gives to rows.

    Parameters
    ----------
    estimator : estimator
        Anything with `transform` and `inverse_transform`: of this package, scikit-learn's, a pipeline.
    X : array-like or Tensor of shape (n_samples, n_features)
        Rows to encode.
    X_clean : array-like or Tensor of the same shape, optional
        Rows that the codes are to reconstruct; by default `X`.
    to_pixels : callable, optional
        Takes all rows of `X_clean`, or their reconstructions, to the space in which PSNR is computed; by default
        they stay as they are.
    data_range : float, default=1.0
        Distance between the smallest and the largest pixel there. For rows standardised by one mean and one
        deviation std, ``1 / std`` gives the PSNR of pixels in [0, 1] without a `to_pixels`.

    Returns
    -------
    row : dict
        `psnr` (dB, mean over rows), `r2`, `sparsity` (fraction of exact zeros), `l1` (mean over rows), `n_dead`
        (components that are zero in all rows), `component_std` (mean over components of the deviation over rows).

    Raises
    ------
    TypeError
        If the estimator lacks one of the two methods.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import NMF
    >>> from skvardict.evaluation import evaluate_codes
    >>> X = load_digits().data / 16
    >>> row = evaluate_codes(NMF(16, init="nndsvd", tol=1e-2).fit(X), X)
    >>> row["sparsity"] > 0.2
    True
    """
    codes, reconstruction = encode_and_decode(estimator, X)
    target = X if X_clean is None else X_clean
    pixels, reconstructed = (target, reconstruction) if to_pixels is None else map(to_pixels, (target, reconstruction))
    values = to_array(codes)
    return {
        "psnr": psnr(pixels, reconstructed, data_range=data_range),
        "r2": r2(target, reconstruction),
        "sparsity": sparsity(values),
        "l1": float(np.abs(values).sum(axis=1, dtype=np.float64).mean()),
        "n_dead": dead_components(values),
        "component_std": float(values.std(axis=0, dtype=np.float64, ddof=1).mean()) if len(values) > 1 else 0.0,
    }


def encode_and_decode(estimator: Any, X: ArrayLike) -> tuple[Any, Any]:
    """Return the codes of `X` as array or tensor, and their reconstruction."""
    for method in ("transform", "inverse_transform"):
        if not hasattr(estimator, method):
            raise TypeError(
                f"Expected an estimator with transform and inverse_transform, but {type(estimator).__name__} has no "
                f"{method}. Wrap it, or use one that goes back to rows."
            )
    codes = as_plain(estimator.transform(X))
    return codes, as_plain(estimator.inverse_transform(codes))


def as_plain(values: Any) -> Array:
    """Return tensors as they are, everything else as an array; sparse matrices become dense."""
    if issparse(values):
        return values.toarray()
    return values if isinstance(values, Tensor) else np.asarray(values)


def as_named(estimators: Any) -> dict[str, Any]:
    """Return a mapping of names to estimators; a single one is named after its class."""
    if isinstance(estimators, Mapping):
        if not estimators:
            raise ValueError("Expected at least one estimator, but got an empty mapping. Pass {name: estimator}.")
        return dict(estimators)
    return {estimators if isinstance(estimators, str) else type(estimators).__name__: estimators}


def seed_names(estimator: Any) -> list[str]:
    """Return the names of every `random_state` of an estimator and of its parts."""
    return [name for name in estimator.get_params(deep=True) if name.rsplit("__", 1)[-1] == "random_state"]


def check_not_empty(function: str, **sequences) -> None:
    """Raise a ValueError that names the first one without an entry, a TypeError for what is no sequence."""
    for name, values in sequences.items():
        if not hasattr(values, "__len__"):
            raise TypeError(f"{function} expects {name} to be a sequence, but got {values!r}. Pass [{values!r}].")
        if len(values) == 0:
            raise ValueError(f"{function} has nothing to do: {name} is empty. Pass at least one.")
