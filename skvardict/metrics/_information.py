"""Multi-information: how much the components of a code tell about each other."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm, rankdata
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict.metrics._arrays import as_float64

# The bins of Fallah & Rozell's experiments: 20 edges on [-2, 2] and a bin of its own for exact zeros, 23 symbols.
DEFAULT_EDGES = np.sort(np.concatenate([np.linspace(-2, 2, 20), [-1e-50, 1e-50]]))
DEFAULT_EDGES.flags.writeable = False


@with_defaults
def multi_information(
    codes: ArrayLike | Tensor, *, method: str = "binned", bin_edges: ArrayLike | None = None
) -> float:
    """Return the multi-information (total correlation) of the components of a code, in bits.

    ``I = sum_j H(z_j) - H(z)``, with entropies H in bits: 0 for independent components, larger the more
    redundant the code.

    Parameters
    ----------
    codes : array-like or Tensor of shape (n_samples, n_components)
    method : {"binned", "gaussian", "copula"}, default="binned"
        "binned" takes plug-in entropies of digitised values, as in the paper. "gaussian" is
        ``-1/2 log2 det R`` with R the correlation matrix: exact for Gaussian codes, blind to dependence
        without correlation. "copula" is the same of normal scores, `Phi^-1(rank / (n + 1))`: invariant under
        increasing maps of single components, and robust to outliers; tied values share their mean rank.
    bin_edges : array-like of shape (n_edges,), optional
        Increasing edges for "binned"; by default 20 on [-2, 2] and +-1e-50, so that exact zeros have a symbol of
        their own.

    Returns
    -------
    bits : float
        Not negative up to rounding; infinite for "gaussian" and "copula" where a component is a linear
        function of others. Constant components carry no information and are left out.

    Raises
    ------
    ValueError
        If `codes` is not 2-D and finite, `method` is unknown, or there are not more rows than varying
        components for "gaussian" and "copula".

    Notes
    -----
    "binned" needs far more rows than there are code words: the joint entropy of n different words is
    ``log2(n)`` whatever the code, so that for dense codes the value is only ``sum_j H(z_j) - log2(n)``.
    "gaussian" and "copula" overestimate by about ``l (l - 1) / (4 n ln 2)`` bits for l independent components and
    n rows. Compare values at equal n and l only.

    References
    ----------
    Fallah and Rozell, "Variational sparse coding with learned thresholding", ICML 2022, Table 1 and Figure 7.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.metrics import multi_information
    >>> z = np.random.default_rng(0).integers(0, 2, size=(1000, 1)) - 0.5
    >>> round(multi_information(np.hstack([z, z])), 2)
    1.0
    """
    values = as_float64("multi_information", "codes", codes, ("n_samples", "n_components"))
    if method == "binned":
        return _binned(values, DEFAULT_EDGES if bin_edges is None else np.asarray(bin_edges, dtype=np.float64))
    if method not in ("gaussian", "copula"):
        raise ValueError(f"multi_information does not know method={method!r}. Use 'binned', 'gaussian' or 'copula'.")
    varying = values[:, np.ptp(values, axis=0) > 0]
    n, n_varying = varying.shape
    if n <= n_varying:
        raise ValueError(
            f"multi_information with method={method!r} expects more rows than components that vary, but codes has "
            f"{n} rows and {n_varying} such components. Pass more rows."
        )
    if n_varying < 2:
        return 0.0
    if method == "copula":
        varying = norm.ppf(rankdata(varying, axis=0) / (n + 1))
    eigenvalues = np.linalg.eigvalsh(np.corrcoef(varying, rowvar=False))
    # Below what rounding leaves of a zero (as of numpy.linalg.matrix_rank) components depend on each other.
    is_singular = eigenvalues[0] <= n_varying * np.finfo(np.float64).eps * eigenvalues[-1]
    return float("inf") if is_singular else float(-0.5 * np.log2(eigenvalues).sum())


def _binned(values: NDArray, edges: NDArray) -> float:
    if edges.ndim != 1 or len(edges) == 0 or not (np.diff(edges) > 0).all():
        raise ValueError(f"multi_information expects increasing bin_edges, but got {edges!r}. Sort them.")
    symbols = np.digitize(values, edges)
    n, n_components = symbols.shape
    n_symbols = len(edges) + 1
    # One histogram of all components: component j owns the counts from j n_symbols on.
    shifted = symbols + n_symbols * np.arange(n_components)
    marginals = np.bincount(shifted.ravel(), minlength=n_symbols * n_components).reshape(n_components, n_symbols)
    words = np.ascontiguousarray(symbols.astype(np.min_scalar_type(n_symbols)))
    joint = np.unique(words.view(np.dtype((np.void, words.dtype.itemsize * n_components))), return_counts=True)[1]
    return float(_entropy(marginals / n) - _entropy(joint / n))


def _entropy(probabilities: NDArray) -> np.floating:
    """Return the entropy in bits, summed over all distributions."""
    positive = probabilities[probabilities > 0]
    return -(positive * np.log2(positive)).sum()
