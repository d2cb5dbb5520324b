"""Local contrast normalisation of grey images, and the way back."""

from math import prod
from numbers import Integral, Real
from typing import Any, ClassVar, NamedTuple, Self

import torch
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from skvardict._sklearn import (
    NON_NEGATIVE,
    BaseEstimator,
    ClassNamePrefixFeaturesOutMixin,
    StrOptions,
    TransformerMixin,
)
from skvardict._utils.defaults import RunsWithDefaults
from skvardict._utils.state import fits_at_once
from skvardict._utils.types import Array, ArrayLike
from skvardict.preprocessing._shapes import resolve_image_shape
from skvardict.rows import Rows, for_output


class LocalContrast(NamedTuple):
    """Normalised images, and what was taken out of them.

    All three are arrays or tensors of shape (n_samples, n_features_out).

    Parameters
    ----------
    patches : ndarray or Tensor
        The normalised images.
    local_mean, local_scale : ndarray or Tensor
        What was subtracted from each pixel, and what it was divided by afterwards.
    """

    patches: Any
    local_mean: Any
    local_scale: Any


class LocalContrastNormalizer(RunsWithDefaults, ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Subtract the local mean of each pixel and divide by the local standard deviation.

    With G a Gaussian window of sum one, ``*`` valid convolution, and x an image:

    ``c = x - G * x``, ``s = sqrt(G * c^2)``, ``z = c / max(s, floor, min_scale)``,

    the floor being mean(s) of the image itself, or one number for all. Each convolution takes ``window_size - 1``
    pixels off both sides together, so that a 52 x 52 image becomes one of 28 x 28 pixels.

    Parameters
    ----------
    image_shape : (int, int), optional
        Height and width of the images in the rows of X; by default square.
    window_size : int, default=13
        Side of the window, odd. Larger windows take the mean and the deviation over larger surroundings.
    sigma : float, default=5.0
        Standard deviation of the Gaussian in pixels.
    min_scale : float, default=1e-4
        Smallest divisor: a constant image becomes zero instead of a division by zero.
    floor : {"image"} or float, default="image"
        Below it deviations do not count as contrast: "image" is mean(s) of each image; a number is the same for all
        images, and with it rows are crops of a larger picture as they would be in the whole.

    Attributes
    ----------
    image_shape_, output_shape_ : (int, int)
        Height and width of the images before and after.
    n_features_in_ : int
        Number of pixels seen in `fit`.

    Notes
    -----
    Rows do not depend on each other; `fit` only learns their length. float32 and float64 are kept, any other
    dtype becomes float32; a tensor in gives a tensor on its device out. The window is separable and is
    applied as two products with a banded matrix, several times faster here than a convolution.

    References
    ----------
    Jarrett, Kavukcuoglu, Ranzato and LeCun, "What is the best multi-stage architecture for object
    recognition?", ICCV 2009, section 2.1. Evtimova and LeCun, "Sparse coding with multi-layer decoders using
    variance regularization", TMLR 2022, section 4.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.preprocessing import LocalContrastNormalizer
    >>> X = np.random.default_rng(0).uniform(size=(5, 52 * 52))
    >>> normalizer = LocalContrastNormalizer((52, 52)).fit(X)
    >>> normalizer.output_shape_, normalizer.transform(X).shape
    ((28, 28), (5, 784))
    """

    _parameter_constraints: ClassVar[dict] = {
        "image_shape": [tuple, list, None],
        "window_size": [Integral],
        "sigma": [Real],
        "min_scale": [Real],
        "floor": [StrOptions({"image"}), *NON_NEGATIVE],
    }

    def __init__(
        self,
        image_shape: tuple[int, int] | None = None,
        window_size: int = 13,
        sigma: float = 5.0,
        min_scale: float = 1e-4,
        floor: str | float = "image",
    ):
        self.image_shape = image_shape
        self.window_size = window_size
        self.sigma = sigma
        self.min_scale = min_scale
        self.floor = floor

    @fits_at_once
    def fit(self, X: ArrayLike, y: Any = None) -> Self:
        """Check the parameters against the length of the rows of `X`.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, height * width)
        y : ignored

        Returns
        -------
        self : LocalContrastNormalizer

        Raises
        ------
        ValueError
            If the images are smaller than two windows, or a parameter is out of its range.
        """
        self._validate_params()
        _check_window(self.window_size, self.sigma, self.min_scale)
        rows = Rows.check(self, X, reset=True)
        self.image_shape_ = resolve_image_shape(type(self).__name__, rows.n_features, self.image_shape)
        height, width = (side - 2 * (self.window_size - 1) for side in self.image_shape_)
        if min(height, width) < 1:
            raise ValueError(
                f"LocalContrastNormalizer has window_size={self.window_size} and takes "
                f"{2 * self.window_size - 2} pixels off each side, but the images have "
                f"{self.image_shape_[0]} x {self.image_shape_[1]} pixels. "
                "Use a smaller window or larger images."
            )
        self.output_shape_ = height, width
        return self

    def normalize(self, X: ArrayLike) -> LocalContrast:
        """Return the normalised images together with the local means and divisors.

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, height * width)

        Returns
        -------
        result : LocalContrast
            Three arrays of shape (n_samples, n_features_out): `patches`, `local_mean`, `local_scale`.
        """
        return LocalContrast(*self._run(X, 3))

    def transform(self, X: ArrayLike) -> Array:
        """Return the normalised images, shape (n_samples, n_features_out).

        Parameters
        ----------
        X : array-like or Tensor of shape (n_samples, height * width)

        Returns
        -------
        patches : ndarray or Tensor of shape (n_samples, n_features_out)
        """
        return for_output(self, self._run(X, 1)[0])

    def inverse(self, patches: Array, local_mean: Array, local_scale: Array) -> Array:
        """Return ``patches * local_scale + local_mean``: the central pixels before normalisation.

        Parameters
        ----------
        patches : ndarray or Tensor of shape (n_samples, n_features_out)
            Normalised images, or reconstructions of them.
        local_mean, local_scale : ndarray or Tensor of the same shape
            From `normalize`.

        Returns
        -------
        pixels : ndarray or Tensor of shape (n_samples, n_features_out)
        """
        if not patches.shape == local_mean.shape == local_scale.shape:
            raise ValueError(
                "LocalContrastNormalizer.inverse expects three arrays of one shape, but got "
                f"{tuple(patches.shape)}, {tuple(local_mean.shape)} and {tuple(local_scale.shape)}. "
                "Pass the local_mean and local_scale that belong to these rows."
            )
        return patches * local_scale + local_mean

    @property
    def _n_features_out(self) -> int:
        return prod(self.output_shape_)

    def _run(self, X, n_results: int) -> list:
        """Return the first `n_results` of patches, local mean and local scale, for all rows."""
        check_is_fitted(self)
        rows = Rows.check(self, X, reset=False)
        results = [rows.new_rows(self._n_features_out) for _ in range(n_results)]
        for where, block in rows.blocks():
            for result, part in zip(results, self._normalize_block(block)):
                result[where] = rows.give_back(part)
        return results

    def _normalize_block(self, values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        window = _gaussian_window(self.window_size, self.sigma)
        margin = self.window_size // 2
        images = values.reshape(-1, *self.image_shape_)
        # About a pixel of each image: a constant one then leaves no rounding behind, which min_scale would blow up.
        reference = images[:, :1, :1]
        shifted = images - reference
        local_mean = _blur(shifted, window)
        centred = _crop(shifted, margin) - local_mean
        local_std = _blur(centred**2, window).sqrt()
        local_scale = torch.maximum(local_std, self._floor(local_std)).clamp_min(self.min_scale)
        patches = _crop(centred, margin) / local_scale
        return patches.flatten(1), (_crop(local_mean, margin) + reference).flatten(1), local_scale.flatten(1)

    def _floor(self, local_std: Tensor) -> Tensor:
        if isinstance(self.floor, str):
            return local_std.mean((1, 2), keepdim=True)
        return local_std.new_full((), self.floor)


def mean_local_deviation(image: Tensor, window_size: int, sigma: float) -> float:
    """Return mean(s) of one whole image of shape (height, width)."""
    window = _gaussian_window(window_size, sigma)
    shifted = image[None] - image[:1, :1]
    centred = _crop(shifted, window_size // 2) - _blur(shifted, window)
    return float(_blur(centred**2, window).sqrt().mean())


def _check_window(window_size: int, sigma: float, min_scale: float) -> None:
    if window_size < 1 or window_size % 2 == 0:
        raise ValueError(
            f"LocalContrastNormalizer expects an odd positive window_size, but got {window_size}. "
            "Only an odd window has a central pixel."
        )
    for name, value in (("sigma", sigma), ("min_scale", min_scale)):
        if not value > 0:
            raise ValueError(f"LocalContrastNormalizer expects {name} > 0, but got {value}. Use a positive number.")


def _gaussian_window(size: int, sigma: float) -> Tensor:
    """Return one side of the separable window, of sum one, in float64."""
    offsets = torch.arange(size, dtype=torch.float64) - size // 2
    weights = torch.exp(-(offsets**2) / (2 * sigma**2))
    return weights / weights.sum()


def _blur(images: Tensor, window: Tensor) -> Tensor:
    """Return the valid convolution of (n, h, w) images with the window along both axes."""
    vertical, horizontal = (_band(window, side).to(images) for side in images.shape[1:])
    return vertical @ images @ horizontal.mT


def _band(window: Tensor, side: int) -> Tensor:
    """Return the valid convolution of a line of `side` pixels as a matrix: the window, shifted row by row."""
    matrix = torch.zeros(side - len(window) + 1, side, dtype=window.dtype)
    for shift, weight in enumerate(window):
        matrix.diagonal(shift).fill_(weight)
    return matrix


def _crop(images: Tensor, margin: int) -> Tensor:
    """Return (n, h, w) images without `margin` pixels on every side."""
    return images[:, margin : images.shape[1] - margin, margin : images.shape[2] - margin]
