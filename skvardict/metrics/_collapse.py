"""Which latent components a variational model uses: collapse, and the ways of counting active ones."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict.metrics._arrays import as_float64

# What is compared with the threshold, per component, and the threshold that the literature uses.
_CRITERIA = {
    "max": (lambda values: np.abs(values).max(0), 0.5),
    "quantile": (lambda values: np.quantile(np.abs(values), 0.999, axis=0), 0.5),
    "std": (lambda values: values.std(0), 0.5),
    "variance": (lambda values: values.var(0), 0.01),
    "kl": (lambda values: values.mean(0), 0.1),
}


@with_defaults
def posterior_collapse(kl: ArrayLike | Tensor, *, tol: float = 1e-2, share: float = 0.95) -> float:
    """Return the fraction of components whose posterior is the prior: ``KL <= tol`` on at least `share` of the rows.

    Parameters
    ----------
    kl : array-like or Tensor of shape (n_samples, n_components)
        KL divergence from prior to posterior in nats, per row and component.
    tol : float, default=1e-2
        Largest divergence that counts as none.
    share : float in (0, 1], default=0.95
        Larger values call fewer components collapsed.

    Returns
    -------
    fraction : float in [0, 1]

    Raises
    ------
    ValueError
        If `kl` is not 2-D and finite or `share` is not in (0, 1].

    References
    ----------
    Lucas et al., "Don't blame the ELBO!", NeurIPS 2019; Fallah and Rozell, ICML 2022, appendix C and Table 2.

    Examples
    --------
    >>> from skvardict.metrics import posterior_collapse
    >>> posterior_collapse([[0.0, 1.0], [0.001, 0.0]])
    0.5
    """
    return _small_share("posterior_collapse", "kl", kl, tol, share)


@with_defaults
def feature_collapse(codes: ArrayLike | Tensor, *, tol: float = 1e-2, share: float = 0.95) -> float:
    """Return the fraction of components that are (almost) never used: ``|z| <= tol`` on at least `share` of the rows.

    Parameters
    ----------
    codes : array-like or Tensor of shape (n_samples, n_components)
        A sparse component that is off on 95 % of the rows counts as collapsed: choose `share` above the sparsity
        that is wanted.
    tol : float, default=1e-2
        Largest absolute value that counts as off.
    share : float in (0, 1], default=0.95

    Returns
    -------
    fraction : float in [0, 1]

    Raises
    ------
    ValueError
        If `codes` is not 2-D and finite or `share` is not in (0, 1].

    References
    ----------
    Fallah and Rozell, ICML 2022, appendix C and Table 2.

    Examples
    --------
    >>> from skvardict.metrics import feature_collapse
    >>> feature_collapse([[0.0, 1.0], [0.0, 0.0]])
    0.5
    """
    return _small_share("feature_collapse", "codes", codes, tol, share)


@with_defaults
def active_components(
    values: ArrayLike | Tensor, *, criterion: str = "max", threshold: float | None = None
) -> NDArray[np.bool_]:
    """Return which components a model uses, by one of the definitions in use.

    A component is active where its statistic over the rows is larger than `threshold`:

    =============  ==========================================  =========
    `criterion`    statistic                                   threshold
    =============  ==========================================  =========
    "max"          largest absolute value                      0.5
    "quantile"     99.9 % quantile of the absolute value       0.5
    "std"          standard deviation                          0.5
    "variance"     variance (Burda et al.'s active units)      0.01
    "kl"           mean of `values`, which are KLs in nats     0.1
    =============  ==========================================  =========

    Parameters
    ----------
    values : array-like or Tensor of shape (n_samples, n_components)
        Posterior means of held-out rows; for "kl" the divergences.
    criterion : {"max", "quantile", "std", "variance", "kl"}, default="max"
        "max" grows with the number of rows: report it.
    threshold : float, optional
        By default that of the table.

    Returns
    -------
    mask : boolean ndarray of shape (n_components,)

    Raises
    ------
    ValueError
        If `values` is not 2-D and finite, or `criterion` is unknown.

    Notes
    -----
    The definitions disagree, and values of 0.5 depend on the scale of the data: name the one that is used.

    References
    ----------
    Jiang and de la Iglesia, "Improved training of sparse coding variational autoencoder via weight
    normalization", 2021, section 4.3 ("max" in the caption of Figure 5, "std" in the text);
    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, section 5.2.

    Examples
    --------
    >>> from skvardict.metrics import active_components
    >>> active_components([[0.0, 0.1], [0.9, -0.1]])
    array([ True, False])
    """
    array = as_float64("active_components", "values", values, ("n_samples", "n_components"))
    if criterion not in _CRITERIA:
        raise ValueError(f"active_components does not know criterion={criterion!r}. Use one of {list(_CRITERIA)}.")
    statistic, default = _CRITERIA[criterion]
    return statistic(array) > (default if threshold is None else threshold)


def _small_share(metric: str, name: str, values: ArrayLike | Tensor, tol: float, share: float) -> float:
    array = as_float64(metric, name, values, ("n_samples", "n_components"))
    if not 0 < share <= 1:
        raise ValueError(f"{metric} expects share in (0, 1], but got {share!r}. Pass a fraction of the rows, 0.95 say.")
    return float(((np.abs(array) <= tol).mean(0) >= share).mean())
