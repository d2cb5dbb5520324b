"""Noise added to rows, and how much of it the codes leave out."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict._utils.types import Array, ArrayLike
from skvardict.evaluation._codes import as_named, as_plain, check_not_empty, evaluate_codes
from skvardict.metrics import psnr


@with_defaults
def denoising_table(
    estimators: Any,
    X: ArrayLike,
    *,
    noise_levels: Sequence[float] = (0.0, 1.0, 1.5),
    seeds: Sequence[int] = (0,),
    to_pixels: Callable[[Any], Any] | None = None,
    data_range: float = 1.0,
) -> pd.DataFrame:
    """Encode noisy rows and compare what their codes reconstruct with the clean rows.

    Parameters
    ----------
    estimators : estimator or dict of str to estimator
        Fitted, with `transform` and `inverse_transform`.
    X : array-like or Tensor of shape (n_samples, n_features)
        Clean rows, standardised: noise is added to them as they are, in their units.
    noise_levels : sequence of float, default=(0.0, 1.0, 1.5)
        Standard deviations of the Gaussian noise.
    seeds : sequence of int, default=(0,)
        One draw of the noise each, the same for all estimators; a level of 0 is evaluated once.
    to_pixels, data_range
        As in :func:`evaluate_codes`.

    Returns
    -------
    table : DataFrame
        One row per estimator, level and seed: `model`, `sigma`, `seed`, `input_psnr` (of the noisy rows; infinite
        without noise), and the entries of :func:`evaluate_codes` for the codes of the noisy rows.

    References
    ----------
    Evtimova & LeCun, Sparse coding with multi-layer decoders using variance regularization, TMLR 2022, table 1.

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skvardict.evaluation import denoising_table
    >>> X = load_digits().data / 16
    >>> table = denoising_table(PCA(16).fit(X), X, noise_levels=[0.2])
    >>> bool(table.psnr[0] > table.input_psnr[0])
    True
    """
    check_not_empty("denoising_table", noise_levels=noise_levels, seeds=seeds)
    clean, rows = as_plain(X), []
    for sigma in noise_levels:
        for seed in seeds if sigma > 0 else seeds[:1]:
            noisy = add_noise(clean, sigma, seed)
            pixels = (clean, noisy) if to_pixels is None else (to_pixels(clean), to_pixels(noisy))
            input_psnr = psnr(*pixels, data_range=data_range)
            rows += [
                {
                    "model": name,
                    "sigma": sigma,
                    "seed": seed,
                    "input_psnr": input_psnr,
                    **evaluate_codes(estimator, noisy, clean, to_pixels=to_pixels, data_range=data_range),
                }
                for name, estimator in as_named(estimators).items()
            ]
    return pd.DataFrame(rows)


def add_noise(X: Array, sigma: float, seed: int) -> Array:
    """Return `X` plus Gaussian noise of standard deviation `sigma`, in its dtype (floating point) and on its device."""
    if not sigma >= 0:
        raise ValueError(f"Noise has a standard deviation of 0 or more, but got {sigma}. Pass a positive number.")
    if sigma == 0:
        return X
    noise = np.random.default_rng(seed).standard_normal(X.shape, dtype=np.float32)
    if isinstance(X, Tensor):
        X = X if X.is_floating_point() else X.float()
        return X + sigma * torch.from_numpy(noise).to(X)
    return X + (sigma * noise).astype(X.dtype if X.dtype.kind == "f" else np.float32)
