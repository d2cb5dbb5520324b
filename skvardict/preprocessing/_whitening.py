"""Whitening of photographs in the frequency domain."""

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skvardict._sklearn import BaseEstimator, TransformerMixin
from skvardict._utils.state import fits_at_once
from skvardict._utils.types import Images
from skvardict.datasets._patches import check_images
from skvardict.rows import float_dtype


class FourierWhitener(TransformerMixin, BaseEstimator):
    """Flatten the spectrum of photographs: a ramp against their 1/f amplitudes, cut off at the top.

    The Fourier transform of each image is multiplied by ``R(f) = f exp(-(f / f0)^4)``, with f in cycles per
    image. As R(0) = 0, the mean of an image is taken out.

    Parameters
    ----------
    cutoff : float, optional
        f0 in cycles per image; by default 0.4 times the side of the image (200 of a 512-pixel image in the
        original, where it is 0.39). R is largest at ``f0 / 4^(1/4) = 0.71 f0``. Smaller values remove more
        noise, and detail with it.
    variance : float, optional
        If given, `fit` finds the one factor that brings the pixels of all its images together to this
        variance, 0.1 in the original; images keep their differences in contrast. By default nothing is
        rescaled.

    Attributes
    ----------
    scale_ : float
        The common factor, 1.0 without `variance`.

    Notes
    -----
    The side N of an image that is not square is its shorter one: f is N times the frequency in cycles per
    pixel, the same in all directions. The filter wraps round at the borders: leave out a margin of 8 pixels
    when cutting patches. Cost is that of two fast Fourier transforms per image.

    References
    ----------
    Olshausen and Field, "Sparse coding with an overcomplete basis set: a strategy employed by V1?", Vision
    Research 37(23), 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.preprocessing import FourierWhitener
    >>> images = np.random.default_rng(0).uniform(size=(2, 32, 32)).cumsum(axis=1)
    >>> whitened = FourierWhitener(variance=0.1).fit_transform(images)
    >>> whitened.shape, round(float(whitened.var()), 6)
    ((2, 32, 32), 0.1)
    """

    _parameter_constraints: ClassVar[dict] = {"cutoff": [Real, None], "variance": [Real, None]}

    def __init__(self, cutoff: float | None = None, variance: float | None = None):
        self.cutoff = cutoff
        self.variance = variance

    @fits_at_once
    def fit(self, images: Images, y: Any = None) -> Self:
        """Find the common factor, where `variance` asks for one.

        Parameters
        ----------
        images : list of 2-D arrays, or array of shape (n_images, height, width)
        y : ignored

        Returns
        -------
        self : FourierWhitener

        Raises
        ------
        ValueError
            If `cutoff` or `variance` is not positive, the images are not 2-D, or all of them are constant
            while `variance` is given.
        """
        self._validate_params()
        for name in ("cutoff", "variance"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"FourierWhitener expects {name} > 0, but got {value}. Leave it out for the default.")
        arrays = check_images(images)
        self.scale_ = 1.0
        if self.variance is not None:
            self.scale_ = self._common_scale(arrays, self.variance)
        return self

    def transform(self, images: Images) -> NDArray | list[NDArray]:
        """Return the whitened images.

        Parameters
        ----------
        images : list of 2-D arrays, or array of shape (n_images, height, width)
            Sizes may differ within a list. float32 and float64 are kept, any other dtype becomes float32.

        Returns
        -------
        whitened : list of 2-D arrays, or array of shape (n_images, height, width)
            As `images`.
        """
        check_is_fitted(self)
        whitened = [self._filter(image) for image in check_images(images)]
        for image in whitened:
            image *= image.dtype.type(self.scale_)
        return np.stack(whitened) if isinstance(images, np.ndarray) else whitened

    def response(self, shape: tuple[int, int]) -> NDArray[np.float64]:
        """Return R(f) on the half plane that ``scipy.fft.rfft2`` gives for an image of the given shape.

        Parameters
        ----------
        shape : (int, int)
            Height and width of the image.

        Returns
        -------
        response : ndarray of shape (height, width // 2 + 1)
        """
        height, width = shape
        side = min(shape)
        cutoff = 0.4 * side if self.cutoff is None else self.cutoff
        frequency = side * np.hypot(scipy.fft.fftfreq(height)[:, None], scipy.fft.rfftfreq(width))
        return frequency * np.exp(-((frequency / cutoff) ** 4))

    def _filter(self, image: NDArray) -> NDArray:
        spectrum = scipy.fft.rfft2(image.astype(float_dtype(image), copy=False))
        spectrum *= self.response(image.shape)
        return scipy.fft.irfft2(spectrum, s=image.shape)

    def _common_scale(self, images: list[NDArray], variance: float) -> float:
        # The mean of a whitened image is zero, so the mean square over all pixels is their variance.
        # A constant image has no variance, though the transforms leave some rounding of it.
        varying = [image for image in images if image.min() < image.max()]
        squares = sum(float(np.sum(self._filter(image) ** 2, dtype=np.float64)) for image in varying)
        if squares == 0:
            raise ValueError(
                f"FourierWhitener cannot bring constant images to variance={variance}. "
                "Fit on images with some contrast, or leave variance out."
            )
        return float(np.sqrt(variance * sum(image.size for image in images) / squares))
