"""What single components respond to, and which of them respond to an input."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils.validation import check_is_fitted

from skvardict.display._figure import COLORS, new_figure
from skvardict.display._sheet import (
    ImageShape,
    SignedSheet,
    as_pictures,
    as_rows,
    check_counts,
    codes_of,
    limits_about_zero,
    limits_of,
    resolve_picture_shape,
    scaled_about_zero,
    tile,
)
from skvardict.metrics import estimated_dictionary


class ReceptiveFieldDisplay(SignedSheet):
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

    def __init__(
        self, tiles: NDArray, *, image_shape: ImageShape, fields: NDArray, limits: tuple[float, float] = (-1, 1)
    ):
        super().__init__(tiles, image_shape=image_shape, limits=limits, caption="linear receptive fields")
        self.fields = fields

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, image_shape: ImageShape | None = None, n_fields: int | None = None
    ) -> "ReceptiveFieldDisplay":
        """Estimate the fields from the codes of `X`.

        Parameters
        ----------
        estimator : fitted transformer
        X : array-like of shape (n_samples, n_features)
            White noise or natural inputs, several times more rows than features.
        image_shape : (int, int), (int, int, 3) or (3, int, int), optional
        n_fields : int, optional
            Show only so many; by default all.

        Returns
        -------
        display : ReceptiveFieldDisplay
        """
        check_is_fitted(estimator)
        check_counts(cls.__name__, n_fields=n_fields)
        rows = as_rows(cls.__name__, X)
        image_shape = resolve_picture_shape(cls.__name__, rows.shape[1], image_shape)
        fields = estimated_dictionary(codes_of(estimator, X), rows).T
        pictures = scaled_about_zero(as_pictures(fields[:n_fields], image_shape))
        return cls(tile(pictures), image_shape=image_shape, fields=fields, limits=limits_about_zero(pictures))


class ActivityDisplay:
    """The codes of a few inputs, component by component.

    Parameters
    ----------
    codes : ndarray of shape (n_samples, n_components)
    rows : ndarray of shape (n_samples, n_features) or None
        The inputs; drawn as pictures beside their codes.
    image_shape : (int, int), (int, int, 3) or (3, int, int), optional
        Shape of the inputs; needed with `rows`.

    Attributes
    ----------
    axes_ : ndarray of matplotlib Axes of shape (n_samples, 2), or (n_samples, 1) without `rows`
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

    def __init__(self, codes: NDArray, *, rows: NDArray | None = None, image_shape: ImageShape | None = None):
        self.codes = codes
        self.rows = rows
        self.image_shape = image_shape

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: ArrayLike, *, image_shape: ImageShape | None = None
    ) -> "ActivityDisplay":
        """Encode the rows of `X`.

        Parameters
        ----------
        estimator : fitted transformer
        X : array-like of shape (n_samples, n_features)
            A few rows: each has a panel.
        image_shape : (int, int), (int, int, 3) or (3, int, int), optional
            By default square.

        Returns
        -------
        display : ActivityDisplay
        """
        check_is_fitted(estimator)
        rows = as_rows(cls.__name__, X)
        image_shape = resolve_picture_shape(cls.__name__, rows.shape[1], image_shape)
        return cls(codes_of(estimator, X), rows=rows, image_shape=image_shape)

    def plot(self, *, cmap: str = "gray", color: str = COLORS[0]) -> "ActivityDisplay":
        """Draw a panel per row: the input, and its code as a line per component that is not zero.

        Each panel says how many components that are; all have one scale.

        Parameters
        ----------
        cmap : str, default="gray"
            Colour map of the inputs, which share its ends.
        color : str
            Colour of the codes; by default blue.

        Returns
        -------
        self : ActivityDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        n_rows, n_components = self.codes.shape
        figure = new_figure(type(self).__name__, figsize=(8, 1.2 * n_rows + 0.7), layout="constrained")
        ratios = (6,) if self.rows is None else (1, 6)
        axes = figure.subplots(n_rows, len(ratios), squeeze=False, width_ratios=ratios)
        low, high = min(self.codes.min(), 0.0), max(self.codes.max(), 0.0)
        margin = 0.08 * ((high - low) or 1.0)
        for panel, code in zip(axes[:, -1], self.codes):
            active = np.flatnonzero(code)
            panel.axhline(0, color="0.6", linewidth=0.8, zorder=0)
            panel.vlines(active, 0, code[active], colors=color, linewidth=1.5)
            panel.set(xlim=(-1, n_components), ylim=(low - (margin if low < 0 else 0), high + margin))
            panel.set_title(f"{len(active)} of {n_components} components on", loc="right", fontsize="small")
            panel.tick_params(labelbottom=panel is axes[-1, -1])
            panel.spines[["top", "right"]].set_visible(False)
        axes[-1, -1].set_xlabel("component")
        figure.supylabel("code", fontsize="medium")
        if self.rows is not None:
            self._draw_inputs(axes[:, 0], cmap)
        self.axes_, self.figure_ = axes, figure
        return self

    def _draw_inputs(self, axes: NDArray, cmap: str) -> None:
        rows, image_shape = self.rows, self.image_shape
        if rows is None or image_shape is None:
            raise ValueError("ActivityDisplay draws rows as pictures, but got no image_shape. Pass one, or no rows.")
        low, high = limits_of(rows)
        for ax, picture in zip(axes, as_pictures(rows, image_shape)):
            ax.set_axis_off()
            if picture.ndim == 3:
                ax.imshow((picture - low) / (high - low), interpolation="nearest")
            else:
                ax.imshow(picture, cmap=cmap, vmin=low, vmax=high, interpolation="nearest")
