"""Patches of whitened photographs from one array file, split by photograph."""

import math
import os
from pathlib import Path
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from skvardict._utils.files import open_regular
from skvardict.datasets._folders import VARIABLE, shared_folder
from skvardict.datasets._patches import draw_patches

_FILE = "whitened_natural_images.npz"
_N_TEST_IMAGES = 2
# Whitening in the Fourier domain wraps round at the borders.
_MARGIN = 8
_MOST_COMPRESSION = 64  # of whitened images, which hardly compress, by the size of the file


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
    if not path.exists():
        raise FileNotFoundError(f"There is no file {path}. Pass the path of an .npz file with whitened images.")
    try:
        images = _read_array(path, "IMAGES")
    except MemoryError:
        raise
    except Exception as error:  # of damaged archives zipfile and numpy raise whatever they run into
        problem = f"it cannot be read ({error})"
    else:
        if images.ndim == 3 and images.shape[2] > _N_TEST_IMAGES and images.dtype.kind in "fiu":
            return np.moveaxis(images, 2, 0).astype(np.float32, copy=False)
        problem = f"got {images.shape} of {images.dtype}"
    raise ValueError(
        f"{path} holds no whitened images: expected an array IMAGES of real numbers, of shape (height, width, "
        f"n_images) with more than {_N_TEST_IMAGES} images, but {problem}. Replace the file."
    )


def _read_array(path: Path, name: str) -> NDArray:
    """Return an array of an .npz file; its size is looked at first, since a small archive may be that of gigabytes."""
    with open_regular(path) as file, ZipFile(file) as archive:
        member = archive.getinfo(f"{name}.npy")
        if member.compress_type not in (ZIP_STORED, ZIP_DEFLATED):  # others may ask for gigabytes of working memory
            raise ValueError(f"{name} is compressed by method {member.compress_type}, which numpy does not write")
        most = _MOST_COMPRESSION * path.stat().st_size
        if member.file_size > most:
            raise ValueError(f"{name} takes {member.file_size} bytes, more than {most} are not accepted")
        with archive.open(member) as content:
            version = np.lib.format.read_magic(content)
            if version != (1, 0):
                raise ValueError(f"version {version} of the .npy format is not that of an array of numbers")
            shape, _, dtype = np.lib.format.read_array_header_1_0(content)
            if dtype.itemsize * math.prod(shape) != member.file_size - content.tell():
                raise ValueError(f"shape {shape} does not fit the {member.file_size} bytes of {name}")
        with archive.open(member) as content:
            return np.lib.format.read_array(content, allow_pickle=False)


def _default_path() -> Path:
    path = shared_folder(_FILE)
    if path is None:
        raise FileNotFoundError(
            f"No whitened images: the environment variable {VARIABLE} is not set. Set {VARIABLE} to a folder with "
            f"{_FILE}, or pass path=."
        )
    return path
