"""Random patches of images of several sizes."""

from collections.abc import Sequence
from operator import index
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from skvardict._utils.types import Images
from skvardict.rows import as_numbers, float_dtype, to_array


class DrawnPatches(NamedTuple):
    """Patches, and where each of them was cut.

    Parameters
    ----------
    patches : ndarray of shape (n_patches, height * width) or, in colour, (n_patches, height * width * channels)
    image_index : ndarray of shape (n_patches,)
        Position of the image in the list that was drawn from.
    corners : ndarray of shape (n_patches, 2)
        Row and column of the upper left pixel.
    """

    patches: NDArray
    image_index: NDArray[np.intp]
    corners: NDArray[np.intp]


def draw_patches(
    images: Images,
    n_patches: int,
    size: tuple[int, int],
    rng: np.random.RandomState,
    names: Sequence[str] | None = None,
    *,
    allow_colour: bool = False,
) -> DrawnPatches:
    """Cut `n_patches` patches: each from an image, then from a place, drawn uniformly.

    Parameters
    ----------
    images : sequence of 2-D arrays, or with `allow_colour` of arrays (height, width, channels)
        Sizes may differ. float32 and float64 are kept, any other dtype becomes float32.
    n_patches : int
    size : (int, int)
        Height and width of a patch.
    rng : RandomState
    names : sequence of str, optional
        What to call the images in error messages.

    Raises
    ------
    TypeError
        If `n_patches` or `size` are no integers.
    ValueError
        If `n_patches` or `size` are not positive, there are no images, or one is not 2-D, not finite or smaller than a
        patch.
    """
    check_request(n_patches, size)
    return cut_patches(check_images(images, size, names, allow_colour=allow_colour), n_patches, size, rng)


def cut_patches(
    arrays: Sequence[NDArray], n_patches: int, size: tuple[int, int], rng: np.random.RandomState
) -> DrawnPatches:
    """Do what `draw_patches` does, with images that `check_images` returned."""
    image_index = rng.randint(len(arrays), size=n_patches)
    room = np.array([np.subtract(image.shape[:2], size) + 1 for image in arrays])[image_index]
    corners = np.floor(rng.uniform(size=(n_patches, 2)) * room).astype(np.intp)
    dtype = np.result_type(*{float_dtype(image) for image in arrays})
    patches = np.empty((n_patches, *arrays[0].shape[2:], *size), dtype=dtype)
    for number in np.unique(image_index):
        rows = np.flatnonzero(image_index == number)
        windows = sliding_window_view(arrays[number], size, axis=(0, 1))
        patches[rows] = windows[corners[rows, 0], corners[rows, 1]]
    if patches.ndim == 4:  # channels come last in a patch, as in an image
        patches = np.moveaxis(patches, 1, -1)
    return DrawnPatches(patches.reshape(n_patches, -1), image_index, corners)


def check_request(n_patches: int, size: tuple[int, int]) -> None:
    """Raise an error unless a positive number of patches with positive sides is asked for."""
    if index(n_patches) < 1:
        raise ValueError(f"Random patches: expected n_patches >= 1, but got {n_patches}. Ask for some patches.")
    if np.shape(size) != (2,) or min(map(index, size)) < 1:
        raise ValueError(
            f"Random patches: expected a size (height, width), both positive, but got {size!r}. Pass two integers."
        )


def check_images(
    images: Images, size: tuple[int, int] = (1, 1), names: Sequence[str] | None = None, *, allow_colour: bool = False
) -> list[NDArray]:
    """Return `images` as 2-D arrays of finite numbers and at least the given size, or say which one is not.

    With `allow_colour`, all of them may be arrays (height, width, channels) of as many channels.

    They keep their dtype: a stack of bytes would take four times the memory as floats.
    """
    if len(images) == 0:
        raise ValueError("Expected at least one image, but got none. Pass a list of 2-D arrays (height, width).")
    called = [f"Image {number if names is None else names[number]}" for number in range(len(images))]
    arrays = [to_array(as_numbers(image, name, allow_masked=False)) for image, name in zip(images, called, strict=True)]
    for name, array in zip(called, arrays, strict=True):
        if allow_colour and array.ndim == 3:
            if array.shape[2:] != arrays[0].shape[2:]:
                raise ValueError(
                    f"{name} has shape {array.shape}, but the first image {arrays[0].shape}; expected as many channels "
                    "in all. Convert them to one kind."
                )
        elif array.ndim != 2 or arrays[0].ndim != 2:
            raise ValueError(
                f"{name} has shape {array.shape}; expected a 2-D array (height, width). "
                "Convert it to grey first, and pass a list even for a single image."
            )
        if array.shape[0] < size[0] or array.shape[1] < size[1]:
            raise ValueError(
                f"{name} has {array.shape[0]} x {array.shape[1]} pixels, fewer than a patch of "
                f"{size[0]} x {size[1]}. Leave it out, or ask for smaller patches."
            )
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError(f"{name} contains NaN or infinity; expected finite numbers. Repair it or leave it out.")
    return arrays
