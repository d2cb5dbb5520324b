"""What draws from a posterior say: evidence bound, consistency of supports, noise of gradients."""

from collections.abc import Callable, Iterable, Mapping
from math import log
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from scipy.special import logsumexp
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict.metrics._arrays import as_finite, as_float64, with_axes
from skvardict.rows.batches import batch_slices

_BLOCK_ENTRIES = 2**21  # 16 MB of float64


@with_defaults
def iwae_bound(log_weights: ArrayLike | Tensor) -> float:
    """Return the importance-weighted bound on the log-likelihood, in nats per row.

    ``mean_i log 1/K sum_k w_ik`` with ``log w = log p(x, z) - log q(z | x)`` at K draws z from the posterior. It
    lies below ``log p(x)`` in expectation, rises with K, and is the ELBO for K = 1.

    Parameters
    ----------
    log_weights : array-like or Tensor of shape (n_draws, n_samples)
        All constants of the densities included.

    Returns
    -------
    bound : float

    Raises
    ------
    ValueError
        If `log_weights` is not 2-D and finite.

    References
    ----------
    Burda, Grosse and Salakhutdinov, "Importance weighted autoencoders", ICLR 2016, eq. (8).

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.metrics import iwae_bound
    >>> float(np.exp(iwae_bound(np.log([[1.0], [3.0]]))).round(6))
    2.0
    """
    weights = as_float64("iwae_bound", "log_weights", log_weights, ("n_draws", "n_samples"))
    return float((logsumexp(weights, axis=0) - log(len(weights))).mean())


@with_defaults
def jaccard_consistency(
    codes: ArrayLike | Tensor, components: ArrayLike | Tensor | None = None, *, min_norm_squared: float = 0.1
) -> np.ndarray:
    """Return, for every row, the mean Jaccard index of the supports of its draws.

    ``J(A, B) = |A & B| / |A | B|`` over all pairs of draws, A and B being the sets of components that are not zero:
    1 where all draws use the same components, about ``p / (2 - p)`` for independent supports of share p.

    Parameters
    ----------
    codes : array-like or Tensor of shape (n_draws, n_samples, n_components)
        At least two draws; exact zeros are off.
    components : array-like or Tensor of shape (n_components, n_features), optional
        Dictionary; components whose atom has ``|a|^2 <= min_norm_squared`` do not count, since a model may switch
        them at will.
    min_norm_squared : float, default=0.1

    Returns
    -------
    index : ndarray of shape (n_samples,)
        Pairs of two empty supports are left out; nan for a row with no other pair.

    Raises
    ------
    ValueError
        If there is one draw only, or the shapes do not fit.

    References
    ----------
    Fallah and Rozell, ICML 2022, Figure 5.

    Examples
    --------
    >>> from skvardict.metrics import jaccard_consistency
    >>> jaccard_consistency([[[1.0, 0.0, 2.0]], [[3.0, 0.0, 0.0]]])
    array([0.5])
    """
    draws = with_axes("jaccard_consistency", "codes", codes, ("n_draws", "n_samples", "n_components"))
    n_draws, n_samples, n_components = draws.shape
    if n_draws < 2:
        raise ValueError("jaccard_consistency expects at least two draws, but codes has 1. Draw more codes.")
    kept = np.ones(n_components, dtype=bool)
    if components is not None:
        atoms = as_float64("jaccard_consistency", "components", components, ("n_components", "n_features"))
        if len(atoms) != n_components:
            raise ValueError(
                f"jaccard_consistency expects one atom per component, but components has {len(atoms)} rows and codes "
                f"{n_components} components. Pass the dictionary of the codes."
            )
        kept = (atoms**2).sum(1) > min_norm_squared
    index = np.empty(n_samples)
    for rows in batch_slices(n_samples, max(1, _BLOCK_ENTRIES // (n_draws * (n_draws + n_components)))):
        block = as_finite("jaccard_consistency", "codes", draws[:, rows])
        index[rows] = _jaccard((block[:, :, kept] != 0).astype(np.float32))
    return index


def _jaccard(supports: np.ndarray) -> np.ndarray:
    """Return the mean index of every row from zeros and ones of shape (n_draws, n_samples, n_components)."""
    by_row = supports.swapaxes(0, 1)
    common = by_row @ by_row.swapaxes(1, 2)  # (n_samples, n_draws, n_draws); counts, exact in float32
    size = np.diagonal(common, axis1=1, axis2=2)
    union = size[:, :, None] + size[:, None, :] - common
    first, second = np.triu_indices(len(supports), 1)
    common, union = (pairs[:, first, second].astype(np.float64) for pairs in (common, union))
    n_pairs = (union > 0).sum(1)
    total = np.divide(common, union, out=np.zeros_like(common), where=union > 0).sum(1)
    return np.divide(total, n_pairs, out=np.full(len(total), np.nan), where=n_pairs > 0)


@with_defaults
def gradient_snr(
    loss: Callable[[], Tensor],
    parameter_groups: Mapping[str, Iterable[Tensor]],
    *,
    n_draws: int = 1000,
    reduction: str | None = "mean",
) -> dict[str, Any]:
    """Return the signal-to-noise ratio of a stochastic gradient, per group of parameters.

    ``mean_p |mean_k g_kp| / std_k g_kp`` over the parameters p of a group, with gradients g_k of `n_draws` calls of
    `loss`. Zero-mean noise alone gives about ``sqrt(2 / (pi n_draws))``.

    Parameters
    ----------
    loss : callable () -> Tensor of shape ()
        A fresh draw of the loss with a graph, on the same rows each time.
    parameter_groups : mapping of str to iterable of Tensor
        Leaves of the graph, for instance ``{"encoder": encoder.parameters(), "decoder": decoder.parameters()}``.
    n_draws : int, default=1000
        At least 2. Each costs a backward pass; memory is three copies of the parameters, whatever `n_draws`.
    reduction : {"mean", "median"} or None, default="mean"
        Over the parameters of a group. A few parameters that hardly depend on the draws can dominate the mean, as in
        the KL term's share of an encoder; the median is not moved by them. None returns every parameter's ratio.

    Returns
    -------
    ratios : dict of str to float, or to ndarray of shape (n_parameters,)
        Parameters whose gradient does not vary (always zero, or of no noise) have no ratio and are left out; nan where
        that is all of a group, or in the places of those parameters.

    Raises
    ------
    ValueError
        If `n_draws` is smaller than 2 or `reduction` is unknown.

    References
    ----------
    Fallah and Rozell, ICML 2022, Figures 4 and 9; Rainforth et al., "Tighter variational bounds are not necessarily
    better", ICML 2018.

    Examples
    --------
    >>> import torch
    >>> from skvardict.metrics import gradient_snr
    >>> weight = torch.ones(3, requires_grad=True)
    >>> generator = torch.Generator().manual_seed(0)
    >>> def loss():
    ...     return (weight * (2 + torch.randn(3, generator=generator))).sum()
    >>> 1.8 < gradient_snr(loss, {"weight": [weight]})["weight"] < 2.2
    True
    """
    if n_draws < 2:
        raise ValueError(f"gradient_snr expects n_draws >= 2, but got {n_draws}. A deviation needs two draws.")
    if reduction not in ("mean", "median", None):
        raise ValueError(f"gradient_snr does not know reduction={reduction!r}. Use 'mean', 'median' or None.")
    groups = {name: list(parameters) for name, parameters in parameter_groups.items()}
    parameters = [parameter for group in groups.values() for parameter in group]
    mean, scatter = ([torch.zeros_like(parameter) for parameter in parameters] for _ in range(2))
    for index in range(n_draws):
        gradients = torch.autograd.grad(loss(), parameters, allow_unused=True)
        for gradient, center, squares in zip(gradients, mean, scatter):
            change = (0 if gradient is None else gradient) - center
            center.add_(change, alpha=1 / (index + 1))
            # Welford: the product of the deviations from the old and from the new mean, never a difference of squares.
            squares.add_(change.square(), alpha=index / (index + 1))
    ratios = (_ratio(center, squares / (n_draws - 1)) for center, squares in zip(mean, scatter))
    by_group = {name: np.concatenate([next(ratios) for _ in group]) for name, group in groups.items()}
    if reduction is None:
        return by_group
    reduce = np.mean if reduction == "mean" else np.median
    return {
        name: float(reduce(values[~np.isnan(values)])) if np.isfinite(values).any() else float("nan")
        for name, values in by_group.items()
    }


def _ratio(mean: Tensor, variance: Tensor) -> np.ndarray:
    ratio = torch.where(variance > 0, mean.abs() / variance.sqrt(), torch.nan)
    return ratio.flatten().double().cpu().numpy()
