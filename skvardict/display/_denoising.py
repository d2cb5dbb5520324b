"""Clean images, noisy ones, and what codes make of them."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skvardict._utils.types import ArrayLike
from skvardict.display._figure import new_axes
from skvardict.evaluation._codes import as_named, as_plain, encode_and_decode
from skvardict.evaluation._denoising import add_noise
from skvardict.preprocessing._shapes import resolve_image_shape
from skvardict.rows import to_array


class DenoisingDisplay:
    """Rows of images: the originals, noisy versions, and for each model the reconstructions from noisy codes.

    All images have one grey scale, that of the originals. Make one with `from_estimator`.

    Parameters
    ----------
    images : ndarray of shape (n_lines, n_images, height, width)
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
        image_shape: tuple[int, int] | None = None,
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
        image_shape : (int, int), optional
            Height and width; by default square.
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
        image_shape = resolve_image_shape(cls.__name__, X.shape[1], image_shape)
        shown = [to_array(rows if to_pixels is None else to_pixels(rows)) for rows in lines.values()]
        return cls(np.stack(shown).reshape(len(lines), len(X), *image_shape), labels=list(lines))

    def plot(self, ax: Any = None, *, cmap: str = "gray", **imshow_kwargs: Any) -> "DenoisingDisplay":
        """Draw the images.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        cmap : str, default="gray"
        **imshow_kwargs
            Passed to ``Axes.imshow``.

        Returns
        -------
        self : DenoisingDisplay
            With `ax_`, `figure_` and `image_`.
        """
        if ax is None:
            ax = new_axes(type(self).__name__)
        n_lines, n_images, height, width = self.images.shape
        sheet = self.images.swapaxes(1, 2).reshape(n_lines * height, n_images * width)
        scale = {"vmin": self.images[0].min(), "vmax": self.images[0].max(), "interpolation": "nearest"}
        self.image_ = ax.imshow(sheet, **{"cmap": cmap, **scale, **imshow_kwargs})
        ax.set_yticks((np.arange(n_lines) + 0.5) * height - 0.5, self.labels)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        self.ax_, self.figure_ = ax, ax.figure
        return self
