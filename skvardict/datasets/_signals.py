"""Signals with a known dictionary and known codes."""

import numpy as np
from numpy.typing import DTypeLike, NDArray
from sklearn.utils import check_random_state


def make_sparse_coded_signals(
    n_samples: int = 1000,
    n_features: int = 64,
    n_components: int = 32,
    n_nonzero: int = 4,
    *,
    positive: bool = True,
    noise_std: float = 0.0,
    random_state: int | np.random.RandomState | None = None,
    dtype: DTypeLike = np.float32,
) -> tuple[NDArray, NDArray, NDArray]:
    """Draw signals ``X = codes @ dictionary + noise`` from a random dictionary of unit-norm atoms.

    Every row uses exactly `n_nonzero` atoms, drawn without replacement, with magnitudes uniform in [0.5,
    1.5]: far enough from zero that the support of a code is well defined.

    Parameters
    ----------
    n_samples, n_features, n_components : int
        Numbers of rows, of values in a row, and of atoms.
    n_nonzero : int, default=4
        Number of atoms in each row, between 0 and `n_components`.
    positive : bool, default=True
        Non-negative codes; False gives each non-zero a random sign.
    noise_std : float, default=0.0
        Standard deviation of the Gaussian noise added to every value.
    random_state : int, RandomState or None, default=None
        An integer gives the same data on every call.
    dtype : dtype, default=float32
        Of the three results; everything is drawn and multiplied in float64 first.

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    codes : ndarray of shape (n_samples, n_components)
    dictionary : ndarray of shape (n_components, n_features)
        Atoms are rows, of norm one.

    Raises
    ------
    ValueError
        If `n_nonzero` lies outside [0, n_components], or `noise_std` is negative.

    Examples
    --------
    >>> from skvardict.datasets import make_sparse_coded_signals
    >>> X, codes, dictionary = make_sparse_coded_signals(n_samples=5, random_state=0)
    >>> X.shape, codes.shape, dictionary.shape
    ((5, 64), (5, 32), (32, 64))
    >>> (codes > 0).sum(axis=1)
    array([4, 4, 4, 4, 4])
    """
    if not 0 <= n_nonzero <= n_components:
        raise ValueError(
            f"make_sparse_coded_signals expects n_nonzero between 0 and n_components={n_components}, "
            f"but got {n_nonzero}. Ask for fewer atoms in each row, or for more components."
        )
    if not noise_std >= 0:
        raise ValueError(
            f"make_sparse_coded_signals expects noise_std >= 0, but got {noise_std}. Use 0.0 for no noise."
        )
    rng = check_random_state(random_state)
    dictionary = rng.standard_normal((n_components, n_features))
    dictionary /= np.linalg.norm(dictionary, axis=1, keepdims=True)
    # Ranks of uniform numbers are a random permutation of each row: the lowest ranks are the support.
    ranks = rng.uniform(size=(n_samples, n_components)).argsort(axis=1).argsort(axis=1)
    magnitudes = rng.uniform(0.5, 1.5, size=ranks.shape)
    if not positive:
        magnitudes *= rng.choice([-1, 1], size=ranks.shape)
    codes = np.where(ranks < n_nonzero, magnitudes, 0.0)
    X = codes @ dictionary + noise_std * rng.standard_normal((n_samples, n_features))
    return X.astype(dtype), codes.astype(dtype), dictionary.astype(dtype)
