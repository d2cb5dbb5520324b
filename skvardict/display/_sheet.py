"""Small pictures on one sheet."""

from math import ceil, sqrt
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skvardict.display._figure import new_axes
from skvardict.rows import to_array

_BORDER = 1  # pixels between tiles


class SheetDisplay:
    """Base of displays that are one sheet of small pictures.

    Parameters
    ----------
    tiles : ndarray of shape (n_rows * (height + 1) + 1, n_columns * (width + 1) + 1)
        The sheet, NaN in borders and empty places.
    image_shape : (int, int)
        Height and width of one picture.
    limits : (float, float)
        Values that have the first and the last colour.
    """

    def __init__(self, tiles: NDArray, *, image_shape: tuple[int, int], limits: tuple[float, float] = (-1, 1)):
        self.tiles = tiles
        self.image_shape = image_shape
        self.limits = limits

    def plot(self, ax: Any = None, *, cmap: str = "gray", title: str | None = None, **imshow_kwargs: Any) -> Self:
        """Draw the sheet.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        cmap : str, default="gray"
            Colour map; its ends are at `limits`.
        title : str, optional
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
            ax = new_axes(type(self).__name__)
        low, high = self.limits
        self.image_ = ax.imshow(
            self.tiles, **{"cmap": cmap, "vmin": low, "vmax": high, "interpolation": "nearest", **imshow_kwargs}
        )
        ax.set_axis_off()
        if title is not None:
            ax.set_title(title)
        self.ax_, self.figure_ = ax, ax.figure
        return self


def as_rows(display: str, rows: ArrayLike) -> NDArray:
    """Return rows, of whatever kind, as a 2-D array."""
    values = to_array(rows)
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(
            f"{display} expects rows of shape (n_samples, n_features), none of them 0, but got {values.shape}. "
            "Pass X[:1] for a single row."
        )
    return values


def check_counts(display: str, **counts: int | None) -> None:
    """Raise a ValueError for the first count that is given and smaller than one."""
    for parameter, count in counts.items():
        if count is not None and count < 1:
            raise ValueError(f"{display} expects {parameter} >= 1, but got {count}. Leave it out for the default.")


def scaled_about_zero(images: NDArray) -> NDArray:
    """Return (n, height, width) images, each divided by its largest absolute value; zeros stay zeros."""
    peak = np.abs(images).max(axis=(1, 2), keepdims=True)
    return images / np.where(peak > 0, peak, 1)


def tile(images: NDArray, n_columns: int | None = None) -> NDArray:
    """Return (n, height, width) images on one sheet, by default as square as can be, with NaN between them."""
    n, height, width = images.shape
    n_columns = ceil(sqrt(n)) if n_columns is None else n_columns
    n_rows = ceil(n / n_columns)
    cells = np.full((n_rows * n_columns, height + _BORDER, width + _BORDER), np.nan)
    cells[:n, :height, :width] = images
    rows_of_cells = cells.reshape(n_rows, n_columns, height + _BORDER, width + _BORDER).swapaxes(1, 2)
    sheet = rows_of_cells.reshape(n_rows * (height + _BORDER), n_columns * (width + _BORDER))
    return np.pad(sheet, ((_BORDER, 0), (_BORDER, 0)), constant_values=np.nan)
