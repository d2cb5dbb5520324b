"""A dictionary of patches: learnt from an image or given, and what its codes make of patches."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.stats import chi2
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.validation import check_is_fitted

from skvardict.estimators import StandardDictionaryLearning
from skvardict.networks import LinearDecoder
from skvardict.solvers.matching_pursuit import orthogonal_matching_pursuit

CODINGS = ("pursuit", "estimator")
_ATOMS_PER_FEATURE, _MOST_ATOMS, _PATCHES_PER_ATOM = 4, 256, 16
# Of the residuals' correlations with an atom of norm one, those of noise alone have deviation sigma.
_NOISE_MARGIN = 2.5
# Share of the patches of noise whose norm the error target exceeds: that of Mairal, Elad & Sapiro (2008), section 2.
_NOISE_QUANTILE = 0.93


def default_coder(n_patches: int, n_features: int, sigma: float, random_state: int) -> StandardDictionaryLearning:
    """Return what learns atoms from patches of root mean square 1 with noise of deviation `sigma`.

    Few patches allow few atoms, or they fit the noise; a penalty of ``2 / d`` times 2.5 `sigma` keeps most codes from
    fitting it.
    """
    return StandardDictionaryLearning(
        n_components=max(1, min(_ATOMS_PER_FEATURE * n_features, _MOST_ATOMS, n_patches // _PATCHES_PER_ATOM)),
        alpha=2 / n_features * _NOISE_MARGIN * sigma,
        encoder=None,
        positive_code=False,
        random_state=random_state,
    )


@dataclass
class PatchCoder:
    """A fitted estimator of patches, and how codes are found.

    Parameters
    ----------
    estimator : estimator
        Fitted on centred patches, divided by `scale`.
    scale : float
        Root mean square of centred patches.
    coding : {"pursuit", "estimator"}
    """

    estimator: Any
    scale: float
    coding: str

    def reconstruct(self, patches: NDArray, sigma: float, n_means: int) -> NDArray:
        """Return what codes make of centred patches with noise of deviation `sigma`.

        `n_means` numbers have been taken out of each patch with its mean.
        """
        if self.coding == "estimator":
            scale = patches.dtype.type(self.scale)
            return np.asarray(self._codes_and_back(patches / scale)) * scale
        max_error = _error_of_noise(sigma, patches.shape[1] - n_means)
        atoms, most = _tensor(self.atoms(patches.dtype)), max(1, patches.shape[1] // 2)
        codes = orthogonal_matching_pursuit(_tensor(patches), atoms, most, float(max_error))
        return (codes @ atoms).numpy()

    def fill(self, patches: NDArray, observed: NDArray, sigma: float, n_means: int) -> NDArray:
        """Return what codes make of all pixels of centred patches, of which only those `observed` count.

        The mean of few pixels is not that of the patch, so constants join the atoms, one for each channel
        (`n_means`).
        """
        n_features = patches.shape[1]
        constants = np.tile(np.eye(n_means, dtype=patches.dtype), (1, n_features // n_means))
        atoms = _tensor(np.concatenate([self.atoms(patches.dtype), constants]))
        max_error = _error_of_noise(sigma, observed.sum(axis=1) - n_means).astype(patches.dtype)
        rows, most = _tensor(patches), max(1, n_features // 4)
        codes = orthogonal_matching_pursuit(rows, atoms, most, _tensor(max_error), observed=_tensor(observed))
        return (codes @ atoms).numpy()

    def atoms(self, dtype: Any) -> NDArray:
        """Return the atoms as rows."""
        return np.asarray(self.estimator.components_, dtype=dtype)

    def _codes_and_back(self, rows: NDArray) -> Any:
        return self.estimator.inverse_transform(self.estimator.transform(rows))


def patch_coder(
    name: str, estimator: Any, patches: NDArray, sigma: float, coding: str, random_state: np.random.RandomState
) -> PatchCoder:
    """Return a coder of centred patches: a fitted `estimator`, a copy of one fitted on them, or the default.

    Raises
    ------
    ValueError
        If `estimator` was fitted on rows of another length, or has no atoms to pursue.
    """
    scale = float(np.sqrt(np.mean(np.square(patches, dtype=np.float64)))) or 1.0
    if estimator is None:
        n_patches, n_features = patches.shape
        estimator = default_coder(n_patches, n_features, sigma / scale, random_state.randint(2**31 - 1))
    if not _is_fitted(estimator):
        estimator = clone(estimator).fit(patches / patches.dtype.type(scale))
    n_features = getattr(estimator, "n_features_in_", patches.shape[1])
    if n_features != patches.shape[1]:
        raise ValueError(
            f"{name}: {type(estimator).__name__} was fitted on {n_features} features, but a patch has "
            f"{patches.shape[1]} numbers, height times width times channels. Use its patch_size, or pass it unfitted."
        )
    if coding == "pursuit" and not _has_atoms(estimator):
        raise ValueError(
            f"{name}: {type(estimator).__name__} has no linear dictionary to pursue atoms of. Use coding='estimator'."
        )
    return PatchCoder(estimator, scale, coding)


def _error_of_noise(sigma: float, n_pixels: Any) -> NDArray[np.float64]:
    """Return the squared norm that noise in so many pixels rarely exceeds."""
    return sigma**2 * chi2.ppf(_NOISE_QUANTILE, np.maximum(n_pixels, 1))


def _tensor(values: NDArray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(values))


def _is_fitted(estimator: Any) -> bool:
    try:
        check_is_fitted(estimator)
    except NotFittedError:
        return False
    return True


def _has_atoms(estimator: Any) -> bool:
    decoder = getattr(estimator, "decoder_", None)
    return isinstance(decoder, LinearDecoder) if decoder is not None else hasattr(estimator, "components_")
