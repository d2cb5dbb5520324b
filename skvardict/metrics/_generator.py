"""What codes say about the data: the sparse-coding objective, estimated atoms, correlation with attributes."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict.metrics._arrays import as_float64, check_same_rows


class SparseCodingObjective(NamedTuple):
    """The sparse-coding objective per row, its two terms, and what the code of zeros scores.

    Attributes
    ----------
    total : float
        ``reconstruction + l1``.
    reconstruction : float
        ``1/2 |x - x_reconstructed|^2``.
    l1 : float
        ``lambda |z|_1``.
    zero_code : float
        ``1/2 |x|^2``: a model whose total is above it is worse than no code at all.
    """

    total: float
    reconstruction: float
    l1: float
    zero_code: float


@with_defaults
def sparse_coding_objective(
    X: ArrayLike | Tensor, X_reconstructed: ArrayLike | Tensor, codes: ArrayLike | Tensor, *, alpha: float
) -> SparseCodingObjective:
    """Return ``1/2 |x - x_reconstructed|^2 + lambda |z|_1``, averaged over rows, and its terms.

    ``lambda = alpha d / 2``: the squared error is halved and *summed* over the d features here, the scale in which
    the papers' text is written, and `alpha` keeps its meaning.

    Parameters
    ----------
    X, X_reconstructed : array-like or Tensor of shape (n_samples, n_features)
    codes : array-like or Tensor of shape (n_samples, n_components)
    alpha : float
        Sparsity weight in the units of this package; 0.15625 is lambda = 20 for 256 features.

    Returns
    -------
    SparseCodingObjective

    Raises
    ------
    ValueError
        If the shapes do not fit.

    References
    ----------
    Fallah and Rozell, ICML 2022, eq. (10) and Table 1 (validation loss).

    Examples
    --------
    >>> from skvardict.metrics import sparse_coding_objective
    >>> sparse_coding_objective([[2.0, 0.0]], [[1.0, 0.0]], [[1.0]], alpha=0.1)
    SparseCodingObjective(total=0.6, reconstruction=0.5, l1=0.1, zero_code=2.0)
    """
    name = "sparse_coding_objective"
    rows = as_float64(name, "X", X, ("n_samples", "n_features"))
    estimate = as_float64(name, "X_reconstructed", X_reconstructed, ("n_samples", "n_features"))
    values = as_float64(name, "codes", codes, ("n_samples", "n_components"))
    check_same_rows(name, X=rows, X_reconstructed=estimate, codes=values)
    if rows.shape[1] != estimate.shape[1]:
        raise ValueError(
            f"{name} expects X and X_reconstructed of one shape, but got {rows.shape} and {estimate.shape}. "
            "Compare the same features."
        )
    n, d = rows.shape
    reconstruction = float(((rows - estimate) ** 2).sum() / (2 * n))
    l1 = float(alpha * d / 2 * np.abs(values).sum() / n)
    return SparseCodingObjective(reconstruction + l1, reconstruction, l1, float((rows**2).sum() / (2 * n)))


@with_defaults
def estimated_dictionary(X: ArrayLike | Tensor, codes: ArrayLike | Tensor) -> NDArray[np.float64]:
    """Return the linear dictionary that best reproduces `X` from `codes`: least squares, atoms as rows.

    ``argmin_W |X - Z W|^2 = (Z^T Z)^-1 Z^T X``: for a non-linear decoder, which features of the data each
    component stands for.

    Parameters
    ----------
    X : array-like or Tensor of shape (n_samples, n_features)
    codes : array-like or Tensor of shape (n_samples, n_components)

    Returns
    -------
    components : ndarray of shape (n_components, n_features)
        The solution of smallest norm where components depend on each other; a dead component has an atom of zeros.

    Raises
    ------
    ValueError
        If the shapes do not fit.

    References
    ----------
    Fallah and Rozell, ICML 2022, section 4.2 and Figure 6.

    Examples
    --------
    >>> from skvardict.metrics import estimated_dictionary
    >>> estimated_dictionary([[2.0, 0.0], [0.0, 3.0]], [[1.0, 0.0], [0.0, 1.0]])
    array([[2., 0.],
           [0., 3.]])
    """
    rows = as_float64("estimated_dictionary", "X", X, ("n_samples", "n_features"))
    values = as_float64("estimated_dictionary", "codes", codes, ("n_samples", "n_components"))
    check_same_rows("estimated_dictionary", X=rows, codes=values)
    # Through the normal equations: l x l whatever the number of rows. The pseudo-inverse takes care of dead components.
    return np.linalg.pinv(values.T @ values, hermitian=True) @ (values.T @ rows)


@with_defaults
def point_biserial(attributes: ArrayLike | Tensor, codes: ArrayLike | Tensor) -> NDArray[np.float64]:
    """Return the correlation of every binary attribute with every component.

    ``r = (mean(z | on) - mean(z | off)) / std(z) * sqrt(p (1 - p))``, p being the share of rows with the attribute:
    Pearson's correlation with a 0-1 variable.

    Parameters
    ----------
    attributes : array-like or Tensor of shape (n_samples, n_attributes)
        Two values per column at most; the larger one is "on". CelebA's -1 and 1 are fine.
    codes : array-like or Tensor of shape (n_samples, n_components)

    Returns
    -------
    correlation : ndarray of shape (n_attributes, n_components)
        In [-1, 1]; nan where an attribute or a component is constant.

    Raises
    ------
    ValueError
        If the shapes do not fit, or an attribute has more than two values.

    References
    ----------
    Fallah and Rozell, ICML 2022, Figure 8.

    Examples
    --------
    >>> from skvardict.metrics import point_biserial
    >>> point_biserial([[0], [1], [1], [0]], [[0.0], [1.0], [1.0], [0.0]])
    array([[1.]])
    """
    labels = as_float64("point_biserial", "attributes", attributes, ("n_samples", "n_attributes"))
    values = as_float64("point_biserial", "codes", codes, ("n_samples", "n_components"))
    check_same_rows("point_biserial", attributes=labels, codes=values)
    low, high = labels.min(0), labels.max(0)
    not_binary = ((labels != low) & (labels != high)).any(0)
    if not_binary.any():
        raise ValueError(
            f"point_biserial expects binary attributes, but columns {np.flatnonzero(not_binary).tolist()} have more "
            "than two values. Pass one column per value."
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        return _standardized(labels).T @ _standardized(values) / len(labels)


def _standardized(values: NDArray) -> NDArray:
    """Return columns of mean zero and variance one; nan where a column is constant."""
    constant = np.ptp(values, axis=0) == 0
    return (values - values.mean(0)) / np.where(constant, np.nan, values.std(0))
