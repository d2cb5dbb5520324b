"""Small pictures on one sheet."""

from math import ceil, prod, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skvardict.display._figure import new_axes
from skvardict.evaluation._codes import as_plain
from skvardict.preprocessing._shapes import resolve_image_shape
from skvardict.rows import to_array

ImageShape = tuple[int, ...]
_BORDER_COLOR = "0.8"


class SheetDisplay:
    """Base of displays that are one sheet of small pictures.

    Parameters
    ----------
    tiles : ndarray of shape (n_rows * (height + b) + b, n_columns * (width + b) + b), or with a last axis of 3 colours
        The sheet, NaN in borders, b pixels wide, and in empty places; b grows with the pictures, from 1.
    image_shape : (int, int), (int, int, 3) or (3, int, int)
        Shape of one picture.
    limits : (float, float)
        Values that have the first and the last colour.
    caption : str, default=""
        The title, unless `plot` is given one.
    """

    def __init__(
        self,
        tiles: NDArray,
        *,
        image_shape: ImageShape,
        limits: tuple[float, float] = (-1, 1),
        caption: str = "",
    ):
        self.tiles = tiles
        self.image_shape = image_shape
        self.limits = limits
        self.caption = caption

    def plot(
        self,
        ax: Any = None,
        *,
        cmap: Any = None,
        title: str | None = None,
        colorbar: bool = False,
        **imshow_kwargs: Any,
    ) -> Self:
        """Draw the sheet.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        cmap : str or Colormap, optional
            Colour map; its ends are at `limits`. By default red and blue about zero for signed atoms and fields, and
            grey for everything else. Pictures in colour have none.
        title : str, optional
            By default `caption`; an empty one leaves the title out.
        colorbar : bool, default=False
            Add a colour bar: what values the colours have.
        **imshow_kwargs
            Passed to ``Axes.imshow``.

        Returns
        -------
        self : of the same class
            With `ax_`, `figure_` and `image_`.

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        if ax is None:
            ax = new_axes(type(self).__name__, figsize=_figure_size(*self.tiles.shape[:2]))
        low, high = self.limits
        if self.tiles.ndim == 3:
            colours: dict[str, Any] = {}
            sheet = _opaque((self.tiles - low) / (high - low))
        else:
            colours = {"cmap": _bordered(cmap or self._default_cmap()), "vmin": low, "vmax": high}
            sheet = self.tiles
        self.image_ = ax.imshow(sheet, **{"interpolation": "nearest", **colours, **imshow_kwargs})
        self._label(ax)
        title = self.caption if title is None else title
        if title:
            ax.set_title(title)
        self.ax_, self.figure_ = ax, ax.figure
        if colorbar and self.tiles.ndim == 2:
            self.figure_.colorbar(self.image_, ax=ax, shrink=0.8)
        return self

    def _default_cmap(self) -> str:
        return "gray"

    def _label(self, ax: Any) -> None:
        ax.set_axis_off()

    def _ticks(self, n: int, axis: int) -> NDArray:
        """Return the middle of the first n pictures along an axis of the sheet."""
        height, width = _size(self.image_shape)
        size, border = (height, width)[axis], _border(height, width)
        return border + (size - 1) / 2 + np.arange(n) * (size + border)


class SignedSheet(SheetDisplay):
    """Pictures that are each divided by their largest absolute value: zero has the middle colour everywhere."""

    def _default_cmap(self) -> str:
        return "RdBu_r" if self.limits[0] < 0 else "gray"


def as_rows(display: str, rows: ArrayLike) -> NDArray:
    """Return rows, of whatever kind, as a 2-D array."""
    values = to_array(rows)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"{display} expects rows of shape (n_samples, n_features), none of them 0, but got {values.shape}. "
            "Pass X[:1] for a single row."
        )
    return values


def codes_of(estimator: Any, X: ArrayLike) -> NDArray:
    """Return the codes of rows as an array, of whatever kind `transform` makes them."""
    return to_array(as_plain(estimator.transform(X)))


def resolve_picture_shape(name: str, n_features: int, image_shape: ImageShape | None) -> ImageShape:
    """Return `image_shape` if it fits; (height, width, 3) and (3, height, width) are pictures in colour.

    Raises
    ------
    ValueError
        If the shape does not fit, or no square picture has that many pixels.
    """
    if image_shape is None or len(image_shape) != 3:
        return resolve_image_shape(name, n_features, image_shape)  # type: ignore[arg-type]
    if prod(image_shape) != n_features or 3 not in (image_shape[0], image_shape[2]):
        raise ValueError(
            f"{name} has image_shape={tuple(image_shape)}, {prod(image_shape)} values, but the rows have {n_features} "
            "features. Pass image_shape=(height, width, 3) or (3, height, width) with as many values."
        )
    return tuple(int(side) for side in image_shape)


def as_pictures(rows: NDArray, image_shape: ImageShape) -> NDArray:
    """Return rows as (n, height, width) or, in colour, (n, height, width, 3) pictures."""
    pictures = rows.reshape(-1, *image_shape)
    return np.moveaxis(pictures, 1, -1) if len(image_shape) == 3 and image_shape[-1] != 3 else pictures


def check_counts(display: str, **counts: int | None) -> None:
    """Raise a ValueError for the first count that is given and smaller than one."""
    for parameter, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{display} expects {parameter} >= 1, but got {count}. Leave it out for the default.")


def scaled_about_zero(images: NDArray) -> NDArray:
    """Return pictures, each divided by its largest absolute value; zeros stay zeros."""
    peak = np.abs(images).max(axis=tuple(range(1, images.ndim)), keepdims=True)
    return images / np.where(peak > 0, peak, 1)


def limits_about_zero(images: NDArray) -> tuple[float, float]:
    """Return the limits of scaled pictures: symmetric, unless no value is negative. Grey is no colour's zero."""
    return (0.0, 1.0) if images.ndim == 3 and images.min() >= 0 and images.max() > 0 else (-1.0, 1.0)


def limits_of(values: NDArray) -> tuple[float, float]:
    """Return the smallest and the largest value, or limits about a constant."""
    low, high = float(values.min()), float(values.max())
    return (low, high) if high > low else (low - 1, low + 1)


def tile(images: NDArray, n_columns: int | None = None) -> NDArray:
    """Return pictures on one sheet, by default as square as can be, with NaN between them."""
    n, height, width, *channels = images.shape
    border = _border(height, width)
    n_columns = ceil(sqrt(n)) if n_columns is None else n_columns
    n_rows = ceil(n / n_columns)
    cells = np.full((n_rows * n_columns, height + border, width + border, *channels), np.nan)
    cells[:n, :height, :width] = images
    rows_of_cells = cells.reshape(n_rows, n_columns, height + border, width + border, *channels).swapaxes(1, 2)
    sheet = rows_of_cells.reshape(n_rows * (height + border), n_columns * (width + border), *channels)
    return np.pad(sheet, [(border, 0), (border, 0), *[(0, 0) for _ in channels]], constant_values=np.nan)


def _size(image_shape: ImageShape) -> tuple[int, int]:
    height, width = image_shape[1:] if len(image_shape) == 3 and image_shape[-1] != 3 else image_shape[:2]
    return height, width


def _border(height: int, width: int) -> int:
    """Return pixels between tiles: one in twelve, so that borders are seen at any size."""
    return max(1, min(height, width) // 12)


def _figure_size(height: int, width: int) -> tuple[float, float]:
    """Return inches for a sheet: always about as large an area, no side longer than a page is wide."""
    scale = min(4.4 / sqrt(height * width), 8.4 / max(height, width))
    return max(width * scale, 2.0) + 0.4, height * scale + 0.5


def _bordered(cmap: Any) -> Any:
    from matplotlib import colormaps

    return colormaps.get_cmap(cmap).with_extremes(bad=_BORDER_COLOR)


def _opaque(colours: NDArray) -> NDArray:
    """Return RGB colours within [0, 1], and grey for NaN."""
    return np.where(np.isnan(colours), float(_BORDER_COLOR), colours.clip(0, 1))
