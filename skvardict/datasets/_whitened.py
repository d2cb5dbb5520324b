"""Patches of whitened photographs from one array file, split by photograph."""

import os
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from skvardict.datasets._folders import VARIABLE, shared_folder
from skvardict.datasets._patches import draw_patches

_FILE = "whitened_natural_images.npz"
_N_TEST_IMAGES = 2
# Whitening in the Fourier domain wraps round at the borders.
_MARGIN = 8


def load_whitened_patches(
    n_patches: int,
    size: tuple[int, int] = (16, 16),
    *,
    path: str | os.PathLike | None = None,
    split: str = "train",
    margin: int = _MARGIN,
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Cut random patches from whitened photographs; training and test patches come from different photographs.

    Parameters
    ----------
    n_patches : int
        Number of patches.
    size : (int, int), default=(16, 16)
        Height and width of a patch in pixels.
    path : str or path, optional
        ``.npz`` file with an array ``IMAGES`` of shape (height, width, n_images), at least 3 images; by default
        ``$SKVARDICT_DATA/whitened_natural_images.npz``. Make one with
        :class:`skvardict.preprocessing.FourierWhitener`.
    split : {"train", "test"}, default="train"
        "test" takes the last two images, "train" the others: 8 of 10.
    margin : int, default=8
        Pixels along the borders that no patch reaches into, since whitening wraps round there.
    random_state : int, RandomState or None, default=None
        An integer gives the same patches on every call.

    Returns
    -------
    bunch : Bunch
        `data` float32 of shape (n_patches, height * width), of variance 0.1 in the default file and neither
        centred nor scaled here; `image_index` of shape (n_patches,), the position in ``IMAGES``;
        `image_shape`.

    Raises
    ------
    FileNotFoundError
        If the file is missing, or neither `path` nor SKVARDICT_DATA is given.
    ValueError
        If the file has no such array, `split` is unknown, or an image without its margin is smaller than a patch.

    References
    ----------
    Olshausen and Field, "Emergence of simple-cell receptive field properties by learning a sparse code for natural
    images", Nature 381, 1996.

    Examples
    --------
    >>> from skvardict.datasets import load_whitened_patches
    >>> load_whitened_patches(100, random_state=0).data.shape  # doctest: +SKIP
    (100, 256)
    """
    if split not in ("train", "test"):
        raise ValueError(f"load_whitened_patches does not know split={split!r}. Use 'train' or 'test'.")
    if margin < 0:
        raise ValueError(f"load_whitened_patches expects margin >= 0, but got {margin}. Use 0 to cut up to the border.")
    images = _read_images(_default_path() if path is None else Path(path))
    n_train = len(images) - _N_TEST_IMAGES
    chosen = range(n_train) if split == "train" else range(n_train, len(images))
    inner = [images[k, margin : images.shape[1] - margin, margin : images.shape[2] - margin] for k in chosen]
    names = [f"{k} without its margin of {margin}" for k in chosen]
    drawn = draw_patches(inner, n_patches, size, check_random_state(random_state), names=names)
    return Bunch(data=drawn.patches, image_index=drawn.image_index + chosen.start, image_shape=tuple(size))


def _read_images(path: Path) -> NDArray[np.float32]:
    """Return images as (n_images, height, width)."""
    if not path.is_file():
        raise FileNotFoundError(f"There is no file {path}. Pass the path of an .npz file with whitened images.")
    try:
        with path.open("rb") as file, np.load(file) as archive:
            images = archive["IMAGES"] if "IMAGES" in archive.files else None
    except (OSError, EOFError, TypeError, ValueError, BadZipFile):  # TypeError: a single array, which is no archive
        images = None
    if images is None or images.ndim != 3 or images.shape[2] <= _N_TEST_IMAGES:
        raise ValueError(
            f"{path} holds no whitened images: expected an array IMAGES of shape (height, width, n_images) with more "
            f"than {_N_TEST_IMAGES} images, but got {'no such array' if images is None else images.shape}. "
            "Replace the file."
        )
    return np.moveaxis(images, 2, 0).astype(np.float32, copy=False)


def _default_path() -> Path:
    path = shared_folder(_FILE)
    if path is None:
        raise FileNotFoundError(
            f"No whitened images: the environment variable {VARIABLE} is not set. Set {VARIABLE} to a folder with "
            f"{_FILE}, or pass path=."
        )
    return path
