"""How close a reconstruction is: PSNR and the pooled coefficient of determination.

Both read their inputs in blocks of rows, so that the float64 copy they compute in stays small.
"""

from collections.abc import Iterator
from math import isnan
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict.rows import Rows, as_numbers, to_array


@with_defaults
def psnr(X: ArrayLike | Tensor, X_reconstructed: ArrayLike | Tensor, *, data_range: float = 1.0) -> float:
    """Return the mean over rows of the peak signal-to-noise ratio, in decibels.

    ``psnr = mean_i 10 log10(data_range^2 / MSE_i)``, with ``MSE_i`` the mean over features of
    ``(X_i - X_reconstructed_i)^2``. The mean is taken over decibels, not over errors, and nothing is clipped.

    Parameters
    ----------
    X : array-like or Tensor of shape (n_samples, ...)
        The clean signals; all axes after the first belong to one row.
    X_reconstructed : array-like or Tensor of the same shape
    data_range : float, default=1.0
        Distance between the smallest and the largest value a signal can take: 1.0 for pixels in [0, 1], 255
        for bytes. Standardised data must be mapped back to pixels first.

    Returns
    -------
    psnr : float
        Greater is better. A row that is reconstructed perfectly has an infinite PSNR, and so has then the
        mean.

    Raises
    ------
    ValueError
        If the shapes differ, there are no rows, an error is not a number, or `data_range` is not positive.

    References
    ----------
    Evtimova and LeCun, "Sparse coding with multi-layer decoders using variance regularization", TMLR 2022,
    section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.metrics import psnr
    >>> round(psnr(np.zeros((2, 4)), np.full((2, 4), 0.1)), 6)
    20.0
    """
    if not data_range > 0:
        raise ValueError(
            f"psnr expects a positive data_range, but got {data_range!r}. "
            "Pass the distance between the smallest and the largest possible value, 1.0 for pixels in [0, 1]."
        )
    clean, estimate = _as_pair("psnr", X, X_reconstructed)
    blocks = [((a - b) ** 2).mean(1).tolist() for a, b in zip(_blocks(clean), _blocks(estimate))]
    errors = np.concatenate(blocks)
    undefined = np.flatnonzero(np.isnan(errors))
    if len(undefined):
        raise ValueError(_not_finite("psnr", f"{len(undefined)} rows, the first is row {undefined[0]}"))
    with np.errstate(divide="ignore"):
        return float(np.mean(10 * np.log10(data_range**2 / errors)))


@with_defaults
def r2(X: ArrayLike | Tensor, X_reconstructed: ArrayLike | Tensor) -> float:
    """Return the coefficient of determination, pooled over the whole array.

    ``r2 = 1 - sum_ij (X_ij - X_reconstructed_ij)^2 / sum_ij (X_ij - m_j)^2``, with ``m_j`` the mean of
    feature j. Every entry has the same weight, so features with a large variance count more; scikit-learn
    calls a variance-weighted mean over features what is one ratio here.

    Parameters
    ----------
    X : array-like or Tensor of shape (n_samples, ...)
        The clean signals; all axes after the first belong to one row.
    X_reconstructed : array-like or Tensor of the same shape

    Returns
    -------
    r2 : float
        1.0 for a perfect reconstruction, 0.0 for one as good as the mean of each feature, negative below
        that. Where every feature of `X` is constant (one row, for instance) the ratio is not defined: the
        result is then 1.0 for a perfect reconstruction and 0.0 otherwise.

    Raises
    ------
    ValueError
        If the shapes differ, there are no rows, or the ratio is not a number.

    Examples
    --------
    >>> from skvardict.metrics import r2
    >>> r2([[0.0, 1.0], [2.0, 1.0]], [[0.0, 1.0], [1.0, 1.0]])
    0.5
    """
    clean, estimate = _as_pair("r2", X, X_reconstructed)
    # Sums are taken about a row of the data: exact zeros for constant features, no cancellation otherwise.
    reference = next(_blocks(clean))[0]
    mean = sum((rows - reference).sum(0) for rows in _blocks(clean)) / clean.shape[0]
    variation = sum(float(((rows - reference - mean) ** 2).sum()) for rows in _blocks(clean))
    error = sum(float(((a - b) ** 2).sum()) for a, b in zip(_blocks(clean), _blocks(estimate)))
    if isnan(variation + error):
        raise ValueError(_not_finite("r2", "some rows"))
    if variation == 0:
        return 1.0 if error == 0 else 0.0
    return 1.0 - error / variation


def observed_r2(X: NDArray, observed: NDArray[np.bool_], X_reconstructed: NDArray) -> float:
    """Return :func:`r2` over the observed entries: sums, and the means of features, leave out the others."""
    counts = np.maximum(observed.sum(axis=0), 1)
    mean = np.where(observed, X, 0).sum(axis=0, dtype=np.float64) / counts
    variation = float(np.square(np.where(observed, X - mean, 0)).sum())
    error = float(np.square(np.where(observed, X - X_reconstructed, 0), dtype=np.float64).sum())
    return 1 - error / variation if variation > 0 else float(error == 0)


def _as_pair(name: str, X, X_reconstructed):
    """Return both inputs as 2-D arrays, or as 2-D tensors on one device."""
    names = "X", "X_reconstructed"
    given = [
        as_numbers(values, f"{name}: {of}", allow_masked=False)
        for of, values in zip(names, (X, X_reconstructed), strict=True)
    ]
    pair: tuple[Any, Any]
    if all(isinstance(values, Tensor) for values in given):
        pair = given[0].detach(), given[1].detach().to(given[0].device)
    else:
        pair = to_array(given[0]), to_array(given[1])
    shapes = tuple(pair[0].shape), tuple(pair[1].shape)
    if shapes[0] != shapes[1]:
        raise ValueError(
            f"{name} expects X and X_reconstructed of one shape, but got {shapes[0]} and {shapes[1]}. "
            "Compare the same rows and features."
        )
    if len(shapes[0]) < 2 or 0 in shapes[0]:
        raise ValueError(
            f"{name} expects arrays of shape (n_samples, n_features) with at least one row and one feature, "
            f"but got {shapes[0]}. Reshape a single signal with X.reshape(1, -1)."
        )
    return tuple(values.reshape(shapes[0][0], -1) for values in pair)


def _not_finite(name: str, where: str) -> str:
    return (
        f"{name} expects finite X and X_reconstructed, but NaN or infinity leaves no error to compute in {where}. "
        "Remove these rows, or look for divergence in what made them."
    )


def _blocks(X) -> Iterator[Tensor]:
    """Yield blocks of rows in float64 (float32 on devices that have no float64)."""
    rows = Rows(X)
    for _, block in rows.to(dtype=rows.exact_dtype).blocks():
        yield block
