"""Photographs from a folder, and random patches of them."""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch, check_random_state

from skvardict._utils.files import open_regular
from skvardict.datasets._folders import VARIABLE, shared_folder
from skvardict.datasets._patches import draw_patches

SUFFIXES = (".jpg", ".jpeg", ".png")
_FORMATS = ("PNG", "JPEG")  # whatever the name says: of other formats Pillow may start programs (EPS: Ghostscript)


def load_images(folder: str | os.PathLike) -> tuple[list[NDArray[np.float32]], list[str]]:
    """Read all photographs of a folder as grey images with values in [0, 1].

    Colours become ``(299 R + 587 G + 114 B) / 1000`` (ITU-R 601), rounded to one of 256 levels; 16-bit grey
    images keep their levels.

    Parameters
    ----------
    folder : str or path
        Its ``.jpg``, ``.jpeg`` and ``.png`` files are read in the order of their names; other files are left
        alone.

    Returns
    -------
    images : list of float32 ndarrays of shape (height, width)
        Sizes may differ.
    names : list of str
        The file name of each image.

    Raises
    ------
    FileNotFoundError
        If the folder does not exist or holds no such file.
    ValueError
        If a file is no PNG or JPEG image, whatever its name, is damaged, or has more pixels than Pillow accepts.
    ImportError
        If Pillow is missing (``pip install "skvardict[images]"``).

    Examples
    --------
    >>> from skvardict.datasets import load_images
    >>> images, names = load_images("photographs")  # doctest: +SKIP
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise FileNotFoundError(f"There is no folder {folder}. Pass a folder with {_readable()} files.")
    paths = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    if not paths:
        raise FileNotFoundError(f"The folder {folder} has no {_readable()} files. Pass a folder with photographs.")
    return [_read_grey(path) for path in paths], [path.name for path in paths]


def load_natural_patches(
    n_patches: int,
    size: tuple[int, int] = (28, 28),
    *,
    folder: str | os.PathLike | None = None,
    split: str = "train",
    random_state: int | np.random.RandomState | None = None,
) -> Bunch:
    """Cut random grey patches from a folder of photographs, all photographs being equally likely.

    Parameters
    ----------
    n_patches : int
        Number of patches.
    size : (int, int), default=(28, 28)
        Height and width of a patch in pixels.
    folder : str or path, optional
        Where the photographs are; by default ``$SKVARDICT_DATA/natural_images/<split>``.
    split : str, default="train"
        Name of the subfolder, "train" or "val"; not used when `folder` is given.
    random_state : int, RandomState or None, default=None
        An integer gives the same patches on every call.

    Returns
    -------
    bunch : Bunch
        `data` float32 of shape (n_patches, height * width) with values in [0, 1], `image_index` of shape
        (n_patches,) (which photograph a patch is from: the groups of a split by photograph), `filenames`,
        `image_shape`.

    Raises
    ------
    FileNotFoundError
        If the folder is missing or empty, or neither `folder` nor SKVARDICT_DATA is given.
    ValueError
        If a file cannot be read, or an image is smaller than a patch.

    Examples
    --------
    >>> from skvardict.datasets import load_natural_patches
    >>> load_natural_patches(100, (16, 16), random_state=0).data.shape  # doctest: +SKIP
    (100, 256)
    """
    images, names = load_images(_natural_images(split) if folder is None else folder)
    drawn = draw_patches(images, n_patches, size, check_random_state(random_state), names=names)
    return Bunch(
        data=drawn.patches,
        image_index=drawn.image_index,
        filenames=names,
        image_shape=tuple(size),
    )


def _natural_images(split: str) -> Path:
    folder = shared_folder("natural_images", split)
    if folder is not None and folder.is_dir():
        return folder
    state = f"the environment variable {VARIABLE} is not set" if folder is None else f"there is no folder {folder}"
    raise FileNotFoundError(
        f"No natural images: {state}. Set {VARIABLE} to a folder that has photographs in "
        f"{os.path.join('natural_images', split)!r} (BSDS500, for instance), or pass folder=."
    )


def _read_grey(path: Path) -> NDArray[np.float32]:
    try:
        from PIL import Image
    except ImportError as error:
        raise ImportError(
            'Reading images needs Pillow: pip install pillow, or pip install "skvardict[images]".'
        ) from error
    try:
        with open_regular(path) as file, Image.open(file, formats=_FORMATS) as image:
            if image.mode.startswith("I;16"):
                return np.asarray(image, dtype=np.float32) / np.float32(65535)
            return np.asarray(image.convert("L"), dtype=np.float32) / np.float32(255)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(
            f"{path} is larger than images may be: {error} The limit is PIL.Image.MAX_IMAGE_PIXELS = "
            f"{Image.MAX_IMAGE_PIXELS}. Take the file out of the folder, or raise the limit if you trust it."
        ) from error
    except (MemoryError, KeyboardInterrupt):
        raise
    except Exception as error:  # of damaged files Pillow raises whatever its decoders run into
        raise ValueError(
            f"{path} cannot be read as an image ({error}). Expected a complete {_readable()} file: "
            "replace it or take it out of the folder."
        ) from error


def _readable() -> str:
    return ", ".join(SUFFIXES)
