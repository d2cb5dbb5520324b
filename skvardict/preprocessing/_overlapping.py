"""All overlapping patches of an image as rows, and the image from what became of them."""

from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from skvardict._sklearn import COUNT
from skvardict._utils.state import fits_at_once
from skvardict.preprocessing._grid import PatchGrid, check_image, make_grid
from skvardict.rows import as_numbers, to_array


class OverlappingPatches(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Cut an image into overlapping patches, and average patches back into an image.

    A patch becomes ``(p - m) / s``: m is the mean of each channel of the patch if `center`, s the standard deviation of
    what is left if `normalize`. On the way back each patch becomes ``p s + m``, and each pixel the average of all
    patches on which it lies. A pipeline of this and a coder therefore goes from an image to codes, and its
    ``inverse_transform`` from codes to an image.

    Parameters
    ----------
    patch_size : int or (int, int), default=8
        Height and width of a patch in pixels.
    stride : int, default=1
        Distance of neighbouring patches. With 1 these are all patches; larger values are faster, and average less.
        There are always patches flush with the lower and right border, so that every pixel lies on one.
    center : bool, default=True
        Whether the mean of each channel is taken out of a patch, and put back.
    normalize : bool, default=False
        Whether patches are divided by their standard deviation, and multiplied by it on the way back. That of constant
        patches counts as one.

    Attributes
    ----------
    image_shape_ : tuple of int
        Shape of the image seen in `fit`.
    mean_ : ndarray of shape (n_patches, n_channels) or None
        What was subtracted from its patches.
    scale_ : ndarray of shape (n_patches, 1) or None
        What they were divided by.

    Notes
    -----
    The rows are patches of one image, so `fit` is about this image: its shape, and what is put back. Patches are in the
    order of scikit-learn's ``extract_patches_2d``, each a row in the order height, width, channel. float32 and float64
    are kept, any other dtype becomes float32. All patches together take as many times the memory of the image as a
    patch has pixels, over ``stride ** 2``; :func:`skvardict.images.denoise_image` holds a few at a time.

    References
    ----------
    Elad & Aharon, Image denoising via sparse and redundant representations over learned dictionaries, IEEE
    Transactions on Image Processing 2006, eq. 12.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.preprocessing import OverlappingPatches
    >>> image = np.random.default_rng(0).uniform(size=(20, 30, 3))
    >>> patches = OverlappingPatches(8).fit(image)
    >>> rows = patches.transform(image)
    >>> rows.shape
    (299, 192)
    >>> bool(np.allclose(patches.inverse_transform(rows), image))
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        "patch_size": [Integral, tuple, list],
        "stride": COUNT,
        "center": ["boolean"],
        "normalize": ["boolean"],
    }

    def __init__(
        self, patch_size: int | tuple[int, int] = 8, stride: int = 1, center: bool = True, normalize: bool = False
    ):
        self.patch_size = patch_size
        self.stride = stride
        self.center = center
        self.normalize = normalize

    @fits_at_once
    def fit(self, image: ArrayLike, y: Any = None) -> Self:
        """Learn the shape of the image, and mean and scale of its patches.

        Parameters
        ----------
        image : array-like of shape (height, width) or (height, width, channels)
        y : ignored

        Returns
        -------
        self : OverlappingPatches

        Raises
        ------
        ValueError
            If the image has another shape, is smaller than a patch or not finite, or a parameter is out of its range.
        """
        self._validate_params()
        pixels, grid = check_image(type(self).__name__, image), self._grid(np.shape(image))
        self.image_shape_ = np.shape(image)
        parts = (self._take_out(grid.take(pixels, band)) for band in grid.bands())
        _, means, scales = zip(*parts)
        self.mean_ = np.concatenate(means) if self.center else None
        self.scale_ = np.concatenate(scales) if self.normalize else None
        return self

    def transform(self, image: ArrayLike) -> NDArray:
        """Return the patches of an image of the shape of the fit, centred and normalised by themselves.

        Parameters
        ----------
        image : array-like of shape (height, width) or (height, width, channels)

        Returns
        -------
        patches : ndarray of shape (n_patches, patch_height * patch_width * channels)
        """
        check_is_fitted(self)
        pixels = check_image(type(self).__name__, image)
        if np.shape(image) != self.image_shape_:
            raise ValueError(
                f"{type(self).__name__} was fitted on an image of shape {self.image_shape_}, but got "
                f"{np.shape(image)}. Fit it on this image."
            )
        return self._take_out(self._grid(self.image_shape_).take(pixels, slice(None)))[0]

    def inverse_transform(self, patches: ArrayLike) -> NDArray:
        """Return the image of which these are the patches, or what became of them.

        Parameters
        ----------
        patches : array-like of shape (n_patches, n_features_out)
            All patches of the image of the fit, in their order, or reconstructions of them.

        Returns
        -------
        image : ndarray of shape `image_shape_`
            Each pixel is the average over its patches, in which mean and scale of the fit are put back.
        """
        check_is_fitted(self)
        values = to_array(as_numbers(patches, f"{type(self).__name__}: patches", allow_masked=False))
        grid = self._grid(self.image_shape_)
        if values.shape != (grid.n_patches, grid.n_features):
            raise ValueError(
                f"{type(self).__name__}.inverse_transform expects all {grid.n_patches} patches of {grid.n_features} "
                f"numbers, but got shape {values.shape}. Pass one row for each row of transform, in order."
            )
        total = np.zeros(grid.image_shape)
        for band in grid.bands():
            mean = None if self.mean_ is None else self.mean_[band]
            scale = None if self.scale_ is None else self.scale_[band]
            grid.add_(total, put_back(values[band], mean, scale), band)
        dtype = values.dtype if values.dtype.kind == "f" else np.float32
        return (total / grid.coverage()).astype(dtype).reshape(self.image_shape_)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return self._grid(self.image_shape_).n_features

    def _grid(self, image_shape: tuple[int, ...]) -> PatchGrid:
        return make_grid(type(self).__name__, image_shape, self.patch_size, self.stride)

    def _take_out(self, patches: NDArray) -> tuple[NDArray, NDArray | None, NDArray | None]:
        n_channels = self.image_shape_[2] if len(self.image_shape_) == 3 else 1
        return take_out(patches, n_channels, self.center, self.normalize)


def take_out(
    patches: NDArray, n_channels: int, center: bool, normalize: bool
) -> tuple[NDArray, NDArray | None, NDArray | None]:
    """Return centred and normalised patches, the mean of each channel (n, channels), and the scale (n, 1)."""
    mean = scale = None
    if center:
        mean = patches.reshape(len(patches), -1, n_channels).mean(axis=1)
        patches = patches - _tile(mean, patches.shape[1])
    if normalize:
        scale = patches.std(axis=1, keepdims=True)
        # Deviations of equal numbers are rounding, which a division would blow up.
        rounding = 8 * np.finfo(patches.dtype).eps * (0 if mean is None else np.abs(mean).max(axis=1, keepdims=True))
        scale = np.where(scale > rounding, scale, scale.dtype.type(1))
        patches = patches / scale
    return patches, mean, scale


def put_back(patches: NDArray, mean: NDArray | None, scale: NDArray | None) -> NDArray:
    """Return ``patches * scale + mean``, of what was taken out."""
    scaled = patches if scale is None else patches * scale
    return scaled if mean is None else scaled + _tile(mean, patches.shape[1])


def _tile(mean: NDArray, n_features: int) -> NDArray:
    """Return the means of channels for each number of a patch, whose channels come last."""
    return np.tile(mean, (1, n_features // mean.shape[1]))
