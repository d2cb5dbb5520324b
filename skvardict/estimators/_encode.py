"""Codes for a fixed dictionary."""

from typing import Any

import torch

from skvardict._utils.defaults import with_defaults
from skvardict._utils.names import explains_names
from skvardict._utils.types import Array, ArrayLike
from skvardict.estimators._fixed_dictionary import OTHER_NAMES, Coding, FixedDictionary, encode_rows, share
from skvardict.rows import Rows, check_matrix

_ROWS_PER_CHUNK = 2500


@with_defaults
@explains_names(OTHER_NAMES)
def sparse_encode(
    X: ArrayLike,
    components: ArrayLike,
    *,
    alpha: float | None = None,
    algorithm: str = "lasso",
    n_nonzero_coefs: int | None = None,
    positive: bool = True,
    tol: float = 1e-4,
    max_iter: int = 10_000,
    sparse_output: bool = False,
) -> Any:
    """Return the sparse codes of the rows of `X` in a fixed dictionary.

    "lasso" minimises ``1/d |x - z W|^2 + alpha |z|_1`` per row, over ``z >= 0`` if `positive`, until the duality gap of
    the row is at most ``tol`` times its objective. A few rows, and rows of a thousand atoms or more, are coded one by
    one, by coordinate descent on working sets of atoms; for others ADMM finds the supports, normal equations the codes
    on them, and exchanges of atoms what resists (:class:`skvardict.solvers.ActiveSetADMM`). "omp" is orthogonal
    matching pursuit, "threshold" the lasso's solution for orthonormal atoms, taken for any:
    ``sign(c) max(|c| - alpha d / 2, 0)`` with ``c = x W^T``.

    Parameters
    ----------
    X : array-like or Tensor of shape (n_samples, n_features)
    components : array-like or Tensor of shape (n_components, n_features)
        Atoms are rows; their norms are used as they are.
    alpha : float
        Sparsity weight, in the units of this package: scikit-learn's times ``2 / n_features``
        (:func:`skvardict.energies.from_sklearn_alpha`). Codes are zero from :func:`alpha_max` on. Not for "omp".
    algorithm : {"lasso", "omp", "threshold"}, default="lasso"
    n_nonzero_coefs : int, optional
        Non-zeros of each code of "omp"; fewer where a row is explained before. None: as many as it takes until the
        squared error is at most ``tol |x|^2``.
    positive : bool, default=True
        Whether codes are non-negative; False for "omp".
    tol : float, default=1e-4
        Relative duality gap at which a row has converged; with ``alpha=0``, where there is none, a hundred times the
        relative change of the code per iteration. The solution and its gap are those of double
        precision; codes are then rounded to the type of `X`. In single precision their own gap is about 5e-9 over
        `alpha` (rows of variance 1), though their energy is that of the solution: where a small `alpha` is to be
        certified, pass float64.
    max_iter : int, default=10000
        Iterations after which a row is given up, with a warning.
    sparse_output : bool, default=False
        Whether codes of an array are a scipy matrix in CSR format, with the same values.

    Returns
    -------
    codes : ndarray, Tensor or CSR matrix of shape (n_samples, n_components)
        A tensor on the device of `X` if `X` is one; float64 stays float64, everything else becomes float32.

    Raises
    ------
    ValueError
        If `X` and `components` differ in their number of features, hold NaN or infinity, or a number is out of range.

    References
    ----------
    Boyd et al. (2011), section 6.4 (ADMM); Hintermueller, Ito & Kunisch (2002) (primal-dual active set); Lee, Battle,
    Raina & Ng (2006) (exchanges); Pati, Rezaiifar & Krishnaprasad (1993) (matching
    pursuit).

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict import sparse_encode
    >>> X = np.array([[3.0, 0.5, -1.0]])
    >>> sparse_encode(X, np.eye(3), alpha=2 / 3).round(4)
    array([[2., 0., 0.]])
    >>> sparse_encode(X, np.eye(3), algorithm="omp", n_nonzero_coefs=2, positive=False).round(4)
    array([[ 3.,  0., -1.]])
    """
    X, components = check_pair(X, components)
    coding = Coding(algorithm, alpha, positive, n_nonzero_coefs, tol, max_iter)
    coding.check("sparse_encode")
    rows = Rows(X)
    dictionary = FixedDictionary(Rows(share(components)).to(rows.device, torch.float64).read(), coding)
    return encode_rows(rows, dictionary, "sparse_encode", sparse_output=sparse_output)[0]


@with_defaults
def alpha_max(X: ArrayLike, components: ArrayLike, *, positive: bool = True) -> float:
    """Return the smallest `alpha` for which every code of ``sparse_encode(X, components)`` is zero.

    ``2 / d max_ij <x_i, w_j>``, with the absolute value for signed codes.

    Parameters
    ----------
    X : array-like or Tensor of shape (n_samples, n_features)
        Read in pieces.
    components : array-like or Tensor of shape (n_components, n_features)
    positive : bool, default=True
        Whether codes are non-negative, as in :func:`sparse_encode`.

    Returns
    -------
    alpha : float
        In the units of this package; 0 where no atom correlates with a row.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict import alpha_max
    >>> alpha_max(np.array([[3.0, 0.0]]), np.eye(2))
    3.0
    """
    X, components = check_pair(X, components)
    rows, largest = Rows(X), 0.0
    atoms = Rows(components).to(rows.device, torch.float64).read()
    for _, block in rows.to(dtype=torch.float64).slices(_ROWS_PER_CHUNK):
        correlation = block @ atoms.mT
        largest = max(largest, float((correlation if positive else correlation.abs()).max()))
    return largest * 2 / X.shape[1]


def check_pair(X: ArrayLike, components: ArrayLike) -> tuple[Array, Array]:
    """Return rows and atoms as matrices of finite numbers with one number of features."""
    rows, atoms = check_matrix(X, "X"), check_matrix(components, "components")
    if rows.shape[1] != atoms.shape[1]:
        raise ValueError(
            f"X has {rows.shape[1]} features, but the atoms in components have {atoms.shape[1]}. "
            "Atoms are rows: components has shape (n_components, n_features)."
        )
    return rows, atoms
