"""Clean images, noisy ones, and what codes make of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvardict._utils.types import ArrayLike
from skvardict.display._sheet import ImageShape, SheetDisplay, as_pictures, limits_of, resolve_picture_shape, tile
from skvardict.evaluation._codes import as_named, as_plain, encode_and_decode
from skvardict.evaluation._denoising import add_noise
from skvardict.rows import to_array


class DenoisingDisplay(SheetDisplay):
    """Rows of images: the originals, noisy versions, and for each model the reconstructions from noisy codes.

    All images have one grey scale, that of the originals. Make one with `from_estimator`.

    Parameters
    ----------
    images : ndarray of shape (n_lines, n_images, height, width), or with a last axis of 3 colours
    labels : sequence of str
        One per line of images.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    image_ : matplotlib AxesImage

    Examples
    --------
    >>> from sklearn.datasets import load_digits
    >>> from sklearn.decomposition import PCA
    >>> from skvardict.display import DenoisingDisplay
    >>> X = load_digits().data / 16
    >>> display = DenoisingDisplay.from_estimator(PCA(8).fit(X), X[:6], sigma=0.3)
    >>> display.images.shape
    (3, 6, 8, 8)
    >>> display.plot()  # doctest: +SKIP
    """

    def __init__(self, images: NDArray, *, labels: Sequence[str]):
        n_images, *image_shape = images.shape[1:]
        originals = images[0]
        super().__init__(
            tile(images.reshape(-1, *image_shape), n_columns=n_images),
            image_shape=tuple(image_shape),
            limits=limits_of(originals),
        )
        self.images = images
        self.labels = list(labels)

    @classmethod
    def from_estimator(
        cls,
        estimators: Any,
        X: ArrayLike,
        *,
        sigma: float = 1.0,
        seed: int = 0,
        image_shape: ImageShape | None = None,
        to_pixels: Callable[[Any], Any] | None = None,
    ) -> "DenoisingDisplay":
        """Add noise to rows and reconstruct them.

        Parameters
        ----------
        estimators : estimator or dict of str to estimator
            Fitted, with `transform` and `inverse_transform`; one line of images each.
        X : array-like or Tensor of shape (n_images, n_features)
            The rows to show, in the space in which noise is added.
        sigma : float, default=1.0
            Standard deviation of the noise.
        seed : int, default=0
            The noise is that of :func:`skvardict.evaluation.denoising_table` for this seed and these rows.
        image_shape : (int, int), (int, int, 3) or (3, int, int), optional
            By default grey and square.
        to_pixels : callable, optional
            Takes rows to what is shown; by default they stay as they are.

        Returns
        -------
        display : DenoisingDisplay
        """
        X = as_plain(X)
        noisy = add_noise(X, sigma, seed)
        lines = {"original": X, f"noise {sigma:g}": noisy}
        lines |= {name: encode_and_decode(model, noisy)[1] for name, model in as_named(estimators).items()}
        image_shape = resolve_picture_shape(cls.__name__, X.shape[1], image_shape)
        shown = [to_array(rows if to_pixels is None else to_pixels(rows)) for rows in lines.values()]
        return cls(np.stack([as_pictures(rows, image_shape) for rows in shown]), labels=list(lines))

    def _label(self, ax: Any) -> None:
        ax.set_yticks(self._ticks(len(self.labels), 0), self.labels)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
