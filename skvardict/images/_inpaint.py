"""Missing pixels of an image, by sparse codes of the pixels that are there."""

from math import inf
from numbers import Real
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import distance_transform_edt
from sklearn.utils import check_random_state

from skvardict._utils.defaults import with_defaults
from skvardict._utils.parameters import check_count
from skvardict._utils.types import RandomState
from skvardict.images._coding import PatchCoder, patch_coder
from skvardict.preprocessing._grid import PatchGrid, check_image, make_grid
from skvardict.preprocessing._overlapping import put_back, take_out
from skvardict.rows import as_numbers, to_array

_NAME = "inpaint_image"
_RANGE_SHARE = 0.02  # of the range of the pixels, as their deviation from what few atoms can say
_FILL_NOISE = 2.0  # times that deviation: what the penalty takes for the noise of pixels filled in before


@with_defaults
@overload
def inpaint_image(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    estimator: Any = None,
    *,
    sigma: float | None = None,
    patch_size: int | tuple[int, int] = 8,
    stride: int = 1,
    n_rounds: int = 2,
    max_patches: int = 20_000,
    return_estimator: Literal[False] = False,
    random_state: RandomState = None,
) -> NDArray: ...


@overload
def inpaint_image(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    estimator: Any = None,
    *,
    sigma: float | None = None,
    patch_size: int | tuple[int, int] = 8,
    stride: int = 1,
    n_rounds: int = 2,
    max_patches: int = 20_000,
    return_estimator: Literal[True],
    random_state: RandomState = None,
) -> tuple[NDArray, Any]: ...


def inpaint_image(
    image: ArrayLike,
    mask: ArrayLike | None = None,
    estimator: Any = None,
    *,
    sigma: float | None = None,
    patch_size: int | tuple[int, int] = 8,
    stride: int = 1,
    n_rounds: int = 2,
    max_patches: int = 20_000,
    return_estimator: bool = False,
    random_state: RandomState = None,
) -> NDArray | tuple[NDArray, Any]:
    """Fill in the missing pixels of a grey or colour image, with a dictionary learnt from its other pixels.

    Each patch is approximated by few atoms, by orthogonal matching pursuit in which only its observed pixels count:
    residuals, correlations and norms of atoms are those on them. What these atoms say about the missing pixels is
    averaged over patches, a patch counting by its number of observed pixels. Atoms are learnt from patches of the image
    with the missing pixels filled in: in the first round from the nearest observed pixel, then by the round before.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        Pixels in any range.
    mask : array-like of bool of shape (height, width) or that of `image`, optional
        True where a pixel is missing, as in scikit-image; by default where `image` is NaN. Pixels that are missing are
        not read.
    estimator : estimator, optional
        What learns the atoms, as in :func:`denoise_image`. A fitted one is used as it is, in one round.
    sigma : float, optional
        Deviation of observed pixels from what few atoms can say, in the units of the pixels: noise, or how closely
        patches are to be approximated. By default 0.02 times the range of the observed pixels.
    patch_size : int or (int, int), default=8
        Height and width of a patch in pixels. Holes that are wider than a patch are out of reach in their middle, where
        the nearest observed pixel stays.
    stride : int, default=1
        Distance of neighbouring patches.
    n_rounds : int, default=2
        How often atoms are learnt, and the pixels filled in.
    max_patches, return_estimator, random_state
        As in :func:`denoise_image`.

    Returns
    -------
    filled : ndarray of the shape of `image`
        Observed pixels are as they were; float32 and float64 are kept, any other dtype becomes float32.
    estimator : estimator
        Only with `return_estimator`.

    Raises
    ------
    ValueError
        If `image` or `mask` has another shape, no pixel of a channel is observed, or observed pixels are not finite;
        else as in :func:`denoise_image`.

    References
    ----------
    Mairal, Elad & Sapiro, Sparse representation for color image restoration, IEEE Transactions on Image Processing
    2008, section 3.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.images import inpaint_image
    >>> rng = np.random.default_rng(0)
    >>> image = np.sin(np.arange(24) / 2)[:, None] * np.cos(np.arange(24) / 3)
    >>> missing = rng.uniform(size=image.shape) < 0.3
    >>> filled = inpaint_image(np.where(missing, np.nan, image), patch_size=4, random_state=0)
    >>> error = filled[missing] - image[missing]
    >>> bool(error.std() < 0.2 * image.std())
    True
    """
    pixels, observed = _split(image, mask)
    noise = _noise(sigma, pixels[observed])
    check_count("n_rounds", n_rounds)
    check_count("max_patches", max_patches)
    grid = make_grid(_NAME, pixels.shape, patch_size, stride)
    rng = check_random_state(random_state)
    numbers = np.sort(rng.permutation(grid.n_patches)[:max_patches])
    filled, n_channels, fitted = pixels, pixels.shape[2], estimator
    for _ in range(n_rounds):
        patches = take_out(grid.take(filled, numbers), n_channels, center=True, normalize=False)[0]
        coder = patch_coder(_NAME, estimator, patches, _FILL_NOISE * noise, "pursuit", rng)
        filled, fitted = np.where(observed, pixels, _fill(filled, observed, grid, coder, noise)), coder.estimator
        if fitted is estimator:
            break
    result = filled.reshape(np.shape(image))
    return (result, fitted) if return_estimator else result


def _noise(sigma: Any, values: NDArray) -> float:
    if sigma is None:
        return _RANGE_SHARE * float(np.ptp(values))
    if not isinstance(sigma, Real) or not 0 <= float(sigma) < inf:
        raise ValueError(f"{_NAME} expects sigma to be a finite number, at least 0, but got {sigma!r}.")
    return float(sigma)


def _split(image: ArrayLike, mask: ArrayLike | None) -> tuple[NDArray, NDArray[np.bool_]]:
    """Return the image with missing pixels from the nearest observed ones, and where pixels are observed."""
    raw = to_array(as_numbers(image, f"{_NAME}: the image"))  # masked pixels are missing
    if mask is None:
        pixels = check_image(_NAME, raw, allow_nan=True)
        observed = ~np.isnan(pixels)
    else:
        missing = to_array(mask)
        if missing.shape not in (raw.shape, raw.shape[:2]):
            raise ValueError(
                f"{_NAME}: mask has shape {missing.shape}, but the image has {raw.shape}. Pass true where a pixel is "
                "missing, one value for each pixel."
            )
        shape = raw.shape if raw.ndim == 3 else (*raw.shape, 1)
        missing = np.broadcast_to(missing.astype(bool).reshape(*missing.shape[:2], -1), shape)
        pixels = check_image(_NAME, np.where(missing, raw.dtype.type(0), raw.reshape(shape)))
        observed = ~missing
    if not observed.any(axis=(0, 1)).all():
        raise ValueError(f"{_NAME}: no pixel of a channel is observed, so there is nothing to fill it from.")
    nearest = [
        channel[tuple(distance_transform_edt(~seen, return_distances=False, return_indices=True))]
        for channel, seen in zip(np.moveaxis(pixels, 2, 0), np.moveaxis(observed, 2, 0))
    ]
    return np.stack(nearest, axis=2), observed


def _fill(filled: NDArray, observed: NDArray[np.bool_], grid: PatchGrid, coder: PatchCoder, sigma: float) -> NDArray:
    total, weights, n_channels = np.zeros(grid.image_shape), np.zeros(grid.image_shape), filled.shape[2]
    for band in grid.bands():
        seen = grid.take(observed, band)
        # Means over what is observed: numbers elsewhere are not read.
        per_channel = seen.reshape(len(seen), -1, n_channels)
        counts = np.maximum(per_channel.sum(axis=1), 1)
        patches = grid.take(filled, band)
        mean = ((patches * seen).reshape(per_channel.shape).sum(axis=1) / counts).astype(patches.dtype)
        restored = put_back(coder.fill(put_back(patches, -mean, None), seen, sigma, n_channels), mean, None)
        weight = seen.mean(axis=1, keepdims=True)
        grid.add_(total, restored * weight, band)
        grid.add_(weights, np.broadcast_to(weight, restored.shape), band)
    return np.where(weights > 0, total / np.where(weights > 0, weights, 1), filled).astype(filled.dtype)
