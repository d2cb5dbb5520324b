"""CelebA from a user's folder: aligned faces, cropped to 140 pixels and resized to 64, and their 40 attributes."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone

_CROP, _SIDE = 140, 64
_CHUNK = 2000  # rows: 98 MB


@dataclass
class Faces:
    """Rows of 3 x 64 x 64 pixels in [0, 1], and the attributes (-1 or 1) of the test rows."""

    train: NDArray
    test: NDArray
    attributes: pd.DataFrame


def load_celeba(folder: Path, cache: Path, n_train: int, n_test: int) -> Faces:
    """Read the first `n_train` faces, and the `n_test` after them, in the order of the attribute file.

    The pixels are kept as a memory map in `cache`: 150,000 faces are 7.4 GB, which a fit streams.
    """
    table = pd.read_csv(folder / "list_attr_celeba.txt", sep=r"\s+", skiprows=1)
    if len(table) < n_train + n_test:
        raise ValueError(f"{folder} lists {len(table)} faces, fewer than the {n_train + n_test} asked for.")
    table = table.iloc[: n_train + n_test]
    name = hashlib.sha256("".join(table.index).encode()).hexdigest()[:12]
    path = cache / f"celeba_{name}.npy"
    if not path.is_file():
        write_pixels([folder / "img_align_celeba" / file for file in table.index], path)
    pixels = np.load(path, mmap_mode="r")
    return Faces(pixels[:n_train], pixels[n_train:], table.iloc[n_train:])


class FlippedFit(BaseEstimator):
    """A fit on images of which, in every epoch, a random half is mirrored; the model is `estimator_`.

    Parameters
    ----------
    estimator : estimator
        With `fit_stream`.
    image_shape : tuple
        Of a row; the last axis is mirrored.
    seed : int
    """

    def __init__(self, estimator, image_shape: tuple[int, ...], seed: int):
        self.estimator = estimator
        self.image_shape = image_shape
        self.seed = seed

    def fit(self, X, y=None, checkpoint=None):
        """Read the rows once per epoch, from a map or an array."""
        generator, begin = np.random.default_rng(self.seed), perf_counter()
        self.estimator_ = clone(self.estimator).fit_stream(
            lambda: flipped_chunks(X, self.image_shape, generator), checkpoint=checkpoint
        )
        self.estimator_.fit_seconds_ = perf_counter() - begin
        return self


def flipped_chunks(X: NDArray, image_shape: tuple[int, ...], generator: np.random.Generator) -> Iterator[NDArray]:
    """Yield the rows of `X` in chunks, each mirrored with probability 1/2."""
    for start in range(0, len(X), _CHUNK):
        images = np.array(X[start : start + _CHUNK]).reshape(-1, *image_shape)
        is_flipped = generator.random(len(images)) < 0.5
        images[is_flipped] = images[is_flipped, ..., ::-1]
        yield images.reshape(len(images), -1)


def write_pixels(files: list[Path], path: Path) -> None:
    """Write one float32 row per face, channels first."""
    from PIL import Image

    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(".part.npy")
    rows = np.lib.format.open_memmap(unfinished, mode="w+", dtype=np.float32, shape=(len(files), 3 * _SIDE**2))
    for row, file in zip(rows, files):
        with Image.open(file) as image:
            left, top = (image.width - _CROP) // 2, (image.height - _CROP) // 2
            face = image.convert("RGB").crop((left, top, left + _CROP, top + _CROP)).resize((_SIDE, _SIDE))
        row[:] = np.asarray(face, dtype=np.float32).transpose(2, 0, 1).ravel() / 255
    rows.flush()
    unfinished.replace(path)
