"""How codes use their components: zeros and dead components."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.sparse import issparse
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict.rows import as_numbers


@with_defaults
def sparsity(codes: ArrayLike | Tensor) -> float:
    """Return the fraction of entries of `codes` that are exactly zero.

    Parameters
    ----------
    codes : array-like or Tensor of any shape
        Small values are not zeros: only ``0.0`` and ``-0.0`` count. NaN counts as non-zero.

    Returns
    -------
    fraction : float in [0, 1]
        1.0 for codes that are all zero.

    Raises
    ------
    ValueError
        If `codes` has no entry.

    References
    ----------
    Evtimova and LeCun, "Sparse coding with multi-layer decoders using variance regularization", TMLR 2022,
    section 4: the horizontal axis of the sparsity and PSNR trade-off curves.

    Examples
    --------
    >>> from skvardict.metrics import sparsity
    >>> sparsity([[0.0, 2.0], [0.0, 0.0]])
    0.75
    """
    values = _as_codes(codes)
    n_entries = values.numel() if isinstance(values, Tensor) else values.size
    if n_entries == 0:
        raise ValueError(
            f"sparsity expects codes with at least one entry, but got shape {tuple(values.shape)}. "
            "Pass codes of shape (n_samples, n_components)."
        )
    return int((values == 0).sum()) / n_entries


@with_defaults
def dead_component_mask(codes: ArrayLike | Tensor) -> NDArray[np.bool_] | Tensor:
    """Return which components are zero in every row of `codes`.

    Parameters
    ----------
    codes : array-like or Tensor of shape (n_samples, n_components)
        A component that is constant but not zero counts as alive.

    Returns
    -------
    mask : boolean ndarray or Tensor of shape (n_components,)
        A tensor on the same device where `codes` is a tensor, else an array.

    Raises
    ------
    ValueError
        If `codes` is not 2-D or has no rows: a component of no rows is neither dead nor alive.

    Examples
    --------
    >>> from skvardict.metrics import dead_component_mask
    >>> dead_component_mask([[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    array([ True, False, False])
    """
    values = _as_codes(codes)
    if values.ndim != 2 or values.shape[0] == 0:
        raise ValueError(
            "dead_component_mask expects codes of shape (n_samples, n_components) with at least one row, "
            f"but got shape {tuple(values.shape)}. Pass the codes of all rows at once."
        )
    return (values == 0).all(0)


@with_defaults
def dead_components(codes: ArrayLike | Tensor) -> int:
    """Return the number of components that are zero in every row of `codes`.

    Parameters
    ----------
    codes : array-like or Tensor of shape (n_samples, n_components)

    Returns
    -------
    count : int
        Between 0 and `n_components`; `dead_component_mask` says which ones.

    Examples
    --------
    >>> from skvardict.metrics import dead_components
    >>> dead_components([[0.0, 2.0, 0.0], [0.0, 0.0, 1.0]])
    1
    """
    return int(dead_component_mask(codes).sum())


def _as_codes(codes: Any) -> NDArray | Tensor:
    return as_numbers(codes.toarray() if issparse(codes) else codes, "codes", allow_masked=False)
