"""Noise out of an image, by sparse codes of all its patches."""

from math import inf
from numbers import Real
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from skvardict._utils.defaults import with_defaults
from skvardict._utils.parameters import check_count
from skvardict._utils.types import RandomState
from skvardict.images._coding import CODINGS, PatchCoder, patch_coder
from skvardict.preprocessing._grid import PatchGrid, check_image, make_grid
from skvardict.preprocessing._overlapping import put_back, take_out

_NAME = "denoise_image"


@with_defaults
@overload
def denoise_image(
    image: ArrayLike,
    estimator: Any = None,
    *,
    sigma: float,
    patch_size: int | tuple[int, int] = 8,
    stride: int = 1,
    coding: Literal["pursuit", "estimator"] = "pursuit",
    blend: float = 0.0,
    max_patches: int = 20_000,
    return_estimator: Literal[False] = False,
    random_state: RandomState = None,
) -> NDArray: ...


@overload
def denoise_image(
    image: ArrayLike,
    estimator: Any = None,
    *,
    sigma: float,
    patch_size: int | tuple[int, int] = 8,
    stride: int = 1,
    coding: Literal["pursuit", "estimator"] = "pursuit",
    blend: float = 0.0,
    max_patches: int = 20_000,
    return_estimator: Literal[True],
    random_state: RandomState = None,
) -> tuple[NDArray, Any]: ...


def denoise_image(
    image: ArrayLike,
    estimator: Any = None,
    *,
    sigma: float,
    patch_size: int | tuple[int, int] = 8,
    stride: int = 1,
    coding: Literal["pursuit", "estimator"] = "pursuit",
    blend: float = 0.0,
    max_patches: int = 20_000,
    return_estimator: bool = False,
    random_state: RandomState = None,
) -> NDArray | tuple[NDArray, Any]:
    """Take Gaussian noise out of a grey or colour image, with a dictionary learnt from the noisy image itself.

    Atoms are learnt from patches of the noisy image. Each patch, its mean taken out, is then approximated by few atoms,
    no better than to an error as large as the noise: by orthogonal matching pursuit until
    ``|r|^2 <= sigma^2 q``, where q is the 0.93 quantile of the squared norm of noise of deviation one in as many
    pixels. With the mean put back, each pixel is the average of what all patches on it say, and the noisy pixel with
    weight `blend`.

    Parameters
    ----------
    image : array-like of shape (height, width) or (height, width, channels)
        Noisy pixels, in any range.
    estimator : estimator, optional
        What learns the atoms; by default a :class:`skvardict.StandardDictionaryLearning` with 256 signed atoms, and
        `alpha` by `sigma`. One that is not fitted is cloned and fitted on centred patches, divided by their root mean
        square. A fitted one is used as it is: learn it once, from other photographs for instance, and denoise many
        images. For ``coding="pursuit"`` any estimator with `components_` will do, of scikit-learn too.
    sigma : float
        Standard deviation of the noise, in the units of the pixels: 25 for a photograph of bytes is 25 / 255 for
        pixels between 0 and 1.
    patch_size : int or (int, int), default=8
        Height and width of a patch in pixels.
    stride : int, default=1
        Distance of neighbouring patches. With 2 there is a quarter of the work, and a few tenths of a decibel less.
    coding : {"pursuit", "estimator"}, default="pursuit"
        How codes are found: "pursuit" as above, in the atoms of a linear dictionary, with signs of their own.
        "estimator": a patch becomes ``estimator.inverse_transform(estimator.transform(patch))``; `sigma` is then
        without effect on codes. Decoders with hidden layers need it.
    blend : float, default=0.0
        Weight of the noisy pixel, that of a patch being one.
    max_patches : int, default=20000
        Most patches that an estimator is fitted on, drawn at random.
    return_estimator : bool, default=False
        Whether the fitted estimator is returned too, to look at its atoms or to use it again.
    random_state : int, RandomState or None, default=None
        Draws these patches, and seeds the default estimator.

    Returns
    -------
    denoised : ndarray of the shape of `image`
        In its units, not clipped; float32 and float64 are kept, any other dtype becomes float32.
    estimator : estimator
        Only with `return_estimator`.

    Raises
    ------
    ValueError
        If `image` is of another shape, not finite or smaller than a patch, a number is out of its range, or a fitted
        `estimator` does not suit the patches.

    Notes
    -----
    A grey image of 256 x 256 pixels takes about ten seconds on one core, nearly all of it for learning; that does not
    grow with the image. Memory is that of `max_patches` patches and some copies of the image.

    References
    ----------
    Elad & Aharon, Image denoising via sparse and redundant representations over learned dictionaries, IEEE
    Transactions on Image Processing 2006. Mairal, Elad & Sapiro, Sparse representation for color image restoration,
    IEEE Transactions on Image Processing 2008. Atoms are learnt by our estimators instead of K-SVD.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.images import denoise_image
    >>> clean = np.zeros((24, 24))
    >>> clean[6:18, 6:18] = 1.0
    >>> noisy = clean + 0.2 * np.random.default_rng(0).normal(size=clean.shape)
    >>> denoised = denoise_image(noisy, sigma=0.2, patch_size=6, random_state=0)
    >>> bool(np.std(denoised - clean) < np.std(noisy - clean) / 2)
    True
    """
    pixels = check_image(_NAME, image)
    _check_numbers(sigma, blend, coding)
    check_count("max_patches", max_patches)
    grid = make_grid(_NAME, pixels.shape, patch_size, stride)
    rng = check_random_state(random_state)
    numbers = rng.permutation(grid.n_patches)[:max_patches]
    n_channels = pixels.shape[2]
    patches = take_out(grid.take(pixels, np.sort(numbers)), n_channels, center=True, normalize=False)[0]
    coder = patch_coder(_NAME, estimator, patches, sigma, coding, rng)
    denoised = _average(pixels, grid, coder, sigma, blend).reshape(np.shape(image))
    return (denoised, coder.estimator) if return_estimator else denoised


def _average(pixels: NDArray, grid: PatchGrid, coder: PatchCoder, sigma: float, blend: float) -> NDArray:
    total, n_channels = blend * pixels.astype(np.float64), pixels.shape[2]
    for band in grid.bands():
        patches, mean, _ = take_out(grid.take(pixels, band), n_channels, center=True, normalize=False)
        grid.add_(total, put_back(coder.reconstruct(patches, sigma, n_channels), mean, None), band)
    return (total / (blend + grid.coverage())).astype(pixels.dtype)


def _check_numbers(sigma: Any, blend: Any, coding: Any) -> None:
    for name, value in (("sigma", sigma), ("blend", blend)):
        if not isinstance(value, Real) or not 0 <= float(value) < inf:
            raise ValueError(f"{_NAME} expects {name} to be a finite number, at least 0, but got {value!r}.")
    if coding not in CODINGS:
        raise ValueError(f"{_NAME} expects coding to be one of {CODINGS}, but got {coding!r}.")
