"""What single components respond to, and which of them respond to an input."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skvardict.display._figure import new_figure
from skvardict.display._sheet import SheetDisplay, as_rows, check_counts, scaled_about_zero, tile
from skvardict.metrics import estimated_dictionary
from skvardict.preprocessing._shapes import resolve_image_shape
from skvardict.rows import to_array


class ReceptiveFieldDisplay(SheetDisplay):
    """Linear receptive fields: which input each component of the code responds to, as opposed to what it generates.

    The field of component j is the filter f that predicts its code best, ``argmin_f sum_i (z_ij - f . x_i)^2``: what
    reverse correlation finds, corrected for the correlations of the inputs. :class:`DictionaryDisplay` shows the
    generative fields (atoms), which the literature on sparse coding also calls receptive fields.

    Parameters
    ----------
    tiles, image_shape, limits
        As in :class:`DictionaryDisplay`: each field divided by its largest absolute value.
    fields : ndarray of shape (n_components, n_features)
        The filters before scaling.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from skvardict.display import ReceptiveFieldDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 9))
    >>> ReceptiveFieldDisplay.from_estimator(PCA(4).fit(X), X).fields.shape
    (4, 9)
    """

    def __init__(self, tiles: NDArray, *, image_shape: tuple[int, int], fields: NDArray):
        super().__init__(tiles, image_shape=image_shape)
        self.fields = fields

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, image_shape: tuple[int, int] | None = None, n_fields: int | None = None
    ) -> "ReceptiveFieldDisplay":
        """Estimate the fields from the codes of `X`.

        Parameters
        ----------
        estimator : fitted transformer
        X : array-like of shape (n_samples, n_features)
            White noise or natural inputs, several times more rows than features.
        image_shape : (int, int), optional
        n_fields : int, optional
            Show only so many; by default all.

        Returns
        -------
        display : ReceptiveFieldDisplay
        """
        check_is_fitted(estimator)
        check_counts(cls.__name__, n_fields=n_fields)
        rows = as_rows(cls.__name__, X)
        image_shape = resolve_image_shape(cls.__name__, rows.shape[1], image_shape)
        fields = estimated_dictionary(estimator.transform(X), rows).T
        pictures = scaled_about_zero(fields[:n_fields].reshape(-1, *image_shape))
        return cls(tile(pictures), image_shape=image_shape, fields=fields)


class ActivityDisplay:
    """The codes of a few inputs, component by component.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
    rows : ndarray of shape (n_samples, n_features) or None
        The inputs; drawn as pictures beside their codes.
    image_shape : (int, int) or None

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes
        Set by `plot`, like `figure_`.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.decomposition import PCA
    >>> from skvardict.display import ActivityDisplay
    >>> X = np.random.default_rng(0).normal(size=(200, 9))
    >>> ActivityDisplay.from_estimator(PCA(4).fit(X), X[:3]).codes.shape
    (3, 4)
    """

    def __init__(self, codes: NDArray, *, rows: NDArray | None = None, image_shape: tuple[int, int] | None = None):
        self.codes = codes
        self.rows = rows
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, image_shape: tuple[int, int] | None = None
    ) -> "ActivityDisplay":
        """Encode the rows of `X`.

        Parameters
        ----------
        estimator : fitted transformer
        X : array-like of shape (n_samples, n_features)
            A few rows: each has a panel.
        image_shape : (int, int), optional
            By default square.

        Returns
        -------
        display : ActivityDisplay
        """
        check_is_fitted(estimator)
        rows = as_rows(cls.__name__, X)
        image_shape = resolve_image_shape(cls.__name__, rows.shape[1], image_shape)
        return cls(to_array(estimator.transform(X)), rows=rows, image_shape=image_shape)

    def plot(self, *, cmap: str = "gray", color: str = "C0") -> "ActivityDisplay":
        """Draw a panel per row: the input, and its code as a line per component.

        Parameters
        ----------
        cmap : str, default="gray"
            Colour map of the inputs.
        color : str, default="C0"
            Colour of the codes.

        Returns
        -------
        self : ActivityDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        n = len(self.codes)
        figure = new_figure(type(self).__name__, figsize=(8, 1.3 * n + 0.4), layout="constrained")
        axes = figure.subplots(n, 2, squeeze=False, width_ratios=(1, 6))
        extent = np.abs(self.codes).max() or 1.0
        for row in range(n):
            picture, bars = axes[row]
            picture.set_axis_off()
            if self.rows is not None:
                picture.imshow(self.rows[row].reshape(self.image_shape), cmap=cmap)
            bars.vlines(np.arange(self.codes.shape[1]), 0, self.codes[row], colors=color, linewidth=1)
            bars.set_ylim(-1.05 * extent, 1.05 * extent)
            bars.set_ylabel("code")
        axes[-1, 1].set_xlabel("component")
        self.axes_, self.figure_ = axes, figure
        return self
