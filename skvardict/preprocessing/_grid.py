"""All patches of an image at regular places, and the way back: what all patches on a pixel add up to."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from math import prod
from operator import index
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import ArrayLike, NDArray

from skvardict.rows import as_numbers, float_dtype, to_array

_BAND_ENTRIES = 2**21  # of the patches that are held at a time: 8 MB of float32


@dataclass(frozen=True)
class PatchGrid:
    """Places of the patches of an image: every `stride` pixels, and flush with the lower and the right border.

    Patches are numbered row by row of places. A patch is a row of numbers in the order height, width, channel.

    Parameters
    ----------
    image_shape : (int, int, int)
        Height, width and channels.
    patch_size : (int, int)
    stride : int
    """

    image_shape: tuple[int, int, int]
    patch_size: tuple[int, int]
    stride: int

    @cached_property
    def corners(self) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """First pixel rows and first pixel columns of the patches."""
        rows, columns = (_places(*sides, self.stride) for sides in zip(self.image_shape, self.patch_size))
        return rows, columns

    @property
    def n_patches(self) -> int:
        """Number of patches."""
        return prod(map(len, self.corners))

    @property
    def n_features(self) -> int:
        """Numbers in a patch."""
        return prod(self.patch_size) * self.image_shape[2]

    def bands(self) -> Iterator[slice]:
        """Yield the numbers of all patches, a few rows of places at a time."""
        rows, columns = map(len, self.corners)
        step = max(1, _BAND_ENTRIES // (columns * self.n_features))
        for row in range(0, rows, step):
            yield slice(row * columns, min(row + step, rows) * columns)

    def take(self, image: NDArray, numbers: NDArray[np.intp] | slice) -> NDArray:
        """Return patches of `image` (height, width, channels), shape (n, n_features)."""
        top, left = self._corners_of(numbers)
        windows = sliding_window_view(image, self.patch_size, axis=(0, 1))
        return windows[top, left].transpose(0, 2, 3, 1).reshape(-1, self.n_features)

    def add_(self, total: NDArray[np.float64], patches: NDArray, band: slice) -> None:
        """Add the patches of a band to the pixels of `total` (height, width, channels) on which they lie."""
        top, left = (corner[:, None, None, None] for corner in self._corners_of(band))
        height, width = self.patch_size
        lines = total[top.min() : top.max() + height]
        steps = np.ogrid[:height, :width, : total.shape[2]]
        pixels = np.ravel_multi_index((top - top.min() + steps[0], left + steps[1], steps[2]), lines.shape)
        lines += np.bincount(pixels.ravel(), weights=patches.ravel(), minlength=lines.size).reshape(lines.shape)

    def coverage(self) -> NDArray[np.float64]:
        """Return on how many patches each pixel lies, shape (height, width, 1)."""
        down, across = (
            np.bincount((corners[:, None] + np.arange(size)).ravel(), minlength=side).astype(np.float64)
            for corners, size, side in zip(self.corners, self.patch_size, self.image_shape)
        )
        return np.outer(down, across)[:, :, None]

    def _corners_of(self, numbers: NDArray[np.intp] | slice) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        rows, columns = self.corners
        chosen = np.arange(self.n_patches)[numbers] if isinstance(numbers, slice) else numbers
        row, column = np.divmod(chosen, len(columns))
        return rows[row], columns[column]


def _places(side: int, size: int, stride: int) -> NDArray[np.intp]:
    """Return the first pixels of patches along one side; the last patch ends where the image does."""
    places = np.arange(0, side - size + 1, stride)
    return places if places[-1] == side - size else np.append(places, side - size)


def make_grid(name: str, image_shape: tuple[int, ...], patch_size: Any, stride: int) -> PatchGrid:
    """Return the grid of patches of an image; one number as `patch_size` is a square.

    Raises
    ------
    TypeError
        If sizes are no integers.
    ValueError
        If they are not positive, patches are larger than the image, or there are gaps between them.
    """
    size = (patch_size, patch_size) if np.ndim(patch_size) == 0 else tuple(patch_size)
    if len(size) != 2 or min(map(index, size)) < 1:
        raise ValueError(f"{name} expects patch_size >= 1 pixel, but got {patch_size!r}. Pass 8, or (height, width).")
    if not 1 <= index(stride) <= min(size):
        raise ValueError(
            f"{name} has stride={stride} and patches of {size[0]} x {size[1]} pixels. Use a stride between 1 and "
            f"{min(size)}, or pixels between patches are lost."
        )
    height, width, *channels = image_shape
    if height < size[0] or width < size[1]:
        raise ValueError(
            f"{name}: the image has {height} x {width} pixels, fewer than a patch of {size[0]} x {size[1]}. "
            "Use smaller patches."
        )
    return PatchGrid((height, width, channels[0] if channels else 1), (int(size[0]), int(size[1])), int(stride))


def check_image(name: str, image: ArrayLike, *, allow_nan: bool = False) -> NDArray:
    """Return one image as floats of shape (height, width, channels); grey images have one channel.

    Raises
    ------
    ValueError
        If `image` is not of shape (height, width) or (height, width, channels), has no pixel, or does not hold finite
        real numbers.
    """
    array = to_array(as_numbers(image, f"{name}: the image", allow_masked=allow_nan))
    if array.ndim not in (2, 3) or 0 in array.shape:
        raise ValueError(
            f"{name} expects one image of shape (height, width) or (height, width, channels), but got "
            f"{array.shape}. Pass the images of a list one by one."
        )
    array = array.astype(float_dtype(array), copy=False)
    if not (np.isfinite(array) | (np.isnan(array) & allow_nan)).all():
        raise ValueError(
            f"{name}: the image contains {'infinity' if allow_nan else 'NaN or infinity'}. Repair its pixels, or fill "
            "them with skvardict.images.inpaint_image."
        )
    return array if array.ndim == 3 else array[:, :, None]
