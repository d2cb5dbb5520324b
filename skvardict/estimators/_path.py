"""Lasso codes of a fixed dictionary along many weights, and the weight of a wanted number of non-zeros."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from sklearn.exceptions import ConvergenceWarning
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict._utils.messages import warn
from skvardict._utils.names import explains_names
from skvardict._utils.parameters import check_count
from skvardict._utils.types import Array, ArrayLike
from skvardict.estimators._encode import alpha_max, check_pair
from skvardict.estimators._fixed_dictionary import (
    OTHER_NAMES,
    Coding,
    FixedDictionary,
    check_number,
    read_shared,
    share,
)
from skvardict.rows import Rows

_MOST_ROWS = 1000  # on which a number of non-zeros is looked for
_MOST_HALVINGS = 40
_SMALLEST = 1e-8  # of alpha_max


class SparsePath(NamedTuple):
    """Codes along decreasing weights.

    Attributes
    ----------
    alphas : ndarray of shape (n_alphas,)
        Decreasing.
    codes : ndarray or Tensor of shape (n_alphas, n_samples, n_components)
    gaps : ndarray or Tensor of shape (n_alphas, n_samples)
        Duality gaps relative to the objectives, in double precision.
    n_nonzero : ndarray of shape (n_alphas,)
        Mean number of non-zeros of a code.
    """

    alphas: np.ndarray
    codes: Array
    gaps: Array
    n_nonzero: np.ndarray


@with_defaults
@explains_names(OTHER_NAMES)
def sparse_encode_path(
    X: ArrayLike,
    components: ArrayLike,
    *,
    alphas: Sequence[float] | np.ndarray | None = None,
    n_alphas: int = 20,
    eps: float = 1e-2,
    positive: bool = True,
    tol: float = 1e-4,
    max_iter: int = 10_000,
) -> SparsePath:
    """Return the codes of :func:`sparse_encode` for many `alpha`, each begun at the code of the one before.

    Parameters
    ----------
    X : array-like or Tensor of shape (n_samples, n_features)
    components : array-like or Tensor of shape (n_components, n_features)
        Atoms, as rows.
    alphas : array-like of shape (n_alphas,), optional
        Weights, greater than zero, in any order; by default `n_alphas` in equal ratios from :func:`alpha_max` down to
        `eps` times that.
    n_alphas : int, default=20
    eps : float, default=0.01
        Between 0 and 1.
    positive : bool, default=True
    tol, max_iter
        As in :func:`sparse_encode`.

    Returns
    -------
    SparsePath
        With all codes in memory: ``n_alphas * n_samples * n_components`` numbers.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict import sparse_encode_path
    >>> path = sparse_encode_path(np.array([[3.0, 0.5, -1.0]]), np.eye(3), n_alphas=3, positive=False)
    >>> path.alphas.round(2), path.n_nonzero
    (array([2.  , 0.2 , 0.02]), array([0., 3., 3.]))
    """
    X, components = check_pair(X, components)
    if alphas is None:
        check_count("n_alphas", n_alphas)
        if not 0 < eps < 1:
            raise ValueError(f"sparse_encode_path expects eps to lie between 0 and 1, but got {eps!r}.")
        alphas = alpha_max(X, components, positive=positive) * np.geomspace(1, eps, n_alphas)
    weights = _decreasing(alphas)
    rows, first = _dictionary(X, components, weights[0], positive, tol, max_iter, "sparse_encode_path")
    codes = [rows.new_rows(len(first.components)) for _ in weights]
    gaps = [rows.new_rows(dtype=torch.float64) for _ in weights]
    n_nonzero, n_unconverged = np.zeros(len(weights)), 0
    dictionaries = [first, *map(first.with_alpha, weights[1:])]
    for where, block in read_shared(rows):
        start: Tensor | None = None
        for i, dictionary in enumerate(dictionaries):
            part = dictionary.encode(block, start if start is not None and bool(start.any()) else None)
            assert part.gap is not None
            assert part.converged is not None
            start = part.codes
            codes[i][where], gaps[i][where] = rows.give_back(start), rows.give_back(part.gap)
            n_nonzero[i] += int((start != 0).sum())
            n_unconverged += int((~part.converged).sum())
    if n_unconverged:
        warn(
            f"sparse_encode_path: {n_unconverged} of {len(rows) * len(weights)} codes did not reach a relative duality "
            f"gap of tol={tol} within {max_iter} iterations. Raise max_iter or tol.",
            ConvergenceWarning,
        )
    stack = torch.stack if rows.is_tensor else np.stack
    return SparsePath(weights, stack(codes), stack(gaps), n_nonzero / len(rows))


@with_defaults
def alpha_for_nonzeros(
    X: ArrayLike, components: ArrayLike, n_nonzero_coefs: float, *, positive: bool = True, tol: float = 1e-4
) -> float:
    """Return an `alpha` for which codes of :func:`sparse_encode` have about `n_nonzero_coefs` non-zeros on average.

    The weight is halved in ratio between :func:`alpha_max` and less, on at most a thousand rows spread over `X`, until
    the mean number is within 2 %, or the weight known to 1 %.

    Parameters
    ----------
    X : array-like or Tensor of shape (n_samples, n_features)
    components : array-like or Tensor of shape (n_components, n_features)
    n_nonzero_coefs : float
        Greater than zero.
    positive : bool, default=True
    tol : float, default=1e-4
        Relative duality gap of the codes that are counted.

    Returns
    -------
    alpha : float

    Raises
    ------
    ValueError
        If no weight gives so many non-zeros; the message says how many there are at most.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict import alpha_for_nonzeros, sparse_encode
    >>> X = np.random.default_rng(0).standard_normal((100, 20))
    >>> alpha = alpha_for_nonzeros(X, np.eye(20), 5, positive=False)
    >>> bool(abs((sparse_encode(X, np.eye(20), alpha=alpha, positive=False) != 0).sum(1).mean() - 5) <= 0.1)
    True
    """
    X, components = check_pair(X, components)
    check_number("alpha_for_nonzeros", "n_nonzero_coefs", n_nonzero_coefs)
    X = X[:: -(-len(X) // _MOST_ROWS)]
    high = alpha_max(X, components, positive=positive)
    if not n_nonzero_coefs > 0 or high == 0:
        raise ValueError(
            f"alpha_for_nonzeros expects a number of non-zeros greater than 0 and rows that correlate with atoms, but "
            f"got {n_nonzero_coefs!r} and a largest correlation of {high:g}."
        )
    rows, first = _dictionary(X, components, high, positive, tol, 10_000, "alpha_for_nonzeros")

    def count(alpha: float) -> float:
        dictionary = first.with_alpha(alpha)
        counts = [(dictionary.encode(block).codes != 0).sum() for _, block in read_shared(rows)]
        return float(sum(counts)) / len(rows)

    low, most = high, 0.0
    while most < n_nonzero_coefs:
        if low < _SMALLEST * high:
            raise ValueError(
                f"alpha_for_nonzeros: codes of X have {most:g} non-zeros on average at alpha={low:g}, and hardly more "
                f"below, but n_nonzero_coefs={n_nonzero_coefs!r}. Ask for fewer."
            )
        low /= 8
        most = count(low)
    high, alpha = min(8 * low, high), low
    for _ in range(_MOST_HALVINGS):
        alpha = (low * high) ** 0.5
        found = count(alpha)
        if abs(found - n_nonzero_coefs) <= 0.02 * n_nonzero_coefs or high < 1.01 * low:
            break
        low, high = (alpha, high) if found > n_nonzero_coefs else (low, alpha)
    return alpha


def _decreasing(alphas) -> np.ndarray:
    weights = np.sort(np.atleast_1d(np.asarray(alphas, dtype=np.float64)))[::-1].copy()
    if weights.ndim != 1 or len(weights) == 0 or not np.isfinite(weights).all() or weights[-1] <= 0:
        raise ValueError(
            f"sparse_encode_path expects alphas to be finite numbers greater than 0, but the smallest and largest are "
            f"{weights.min(initial=np.inf):g} and {weights.max(initial=-np.inf):g}."
        )
    return weights


def _dictionary(
    X: Array, components: Array, alpha: float, positive: bool, tol: float, max_iter: int, owner: str
) -> tuple[Rows, FixedDictionary]:
    coding = Coding("lasso", float(alpha), positive, None, tol, max_iter)
    coding.check(owner)
    rows = Rows(X)
    return rows, FixedDictionary(Rows(share(components)).to(rows.device, torch.float64).read(), coding)
