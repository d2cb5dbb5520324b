"""MNIST and data sets published in its format: found on disk, checked, or fetched from OpenML once.

What is known about each data set stands in ``_idx_datasets.py``.
"""

import gzip
import math
import os
from http.client import HTTPException
from numbers import Integral
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import fetch_openml
from sklearn.utils import Bunch

from skvardict.datasets._folders import VARIABLE, cache_folder, shared_folder
from skvardict.datasets._idx import check_md5, encode_idx, read_idx
from skvardict.datasets._idx_datasets import FASHION_MNIST, MNIST, TEST_FILES, TRAIN_FILES, IDXDataset
from skvardict.storage.writing import replacing

SPLITS = ("train", "validation", "test", "train+validation")


def fetch_mnist(
    split: str = "train",
    *,
    standardize: bool = True,
    return_X_y: bool = False,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    random_state: int | None = None,
) -> Any:
    """Return one split of the MNIST digits, checked against the published checksums.

    Pixels are ``(x / 255 - 0.1307) / 0.3081``, or ``x / 255`` without `standardize`. The files are looked for
    in ``$SKVARDICT_DATA/mnist``, then in ``skvardict/mnist`` below scikit-learn's data home; if neither has
    them they are fetched from OpenML and kept in the latter.

    Parameters
    ----------
    split : {"train", "validation", "test", "train+validation"}, default="train"
        The first 55,000 of the 60,000 training images, the last 5,000 of them, the 10,000 test images, or all
        60,000. The paper drew its 5,000 at random, and not these: see `random_state`.
    standardize : bool, default=True
        Subtract one mean and divide by one standard deviation for all pixels.
    return_X_y : bool, default=False
        Return ``(data, target)`` only.
    data_home : str or path, optional
        Replaces scikit-learn's data home.
    download_if_missing : bool, default=True
        False raises an error instead of fetching.
    random_state : int, optional
        Draws the 5,000 validation images at random; "train" and "validation" of one number have no image in common.
        For a split that is published as a list of numbers, take these rows of "train+validation".

    Returns
    -------
    bunch : Bunch
        `data` float32 of shape (n_samples, 784), `target` int64 of shape (n_samples,), `mean` and `std` such
        that ``data * std + mean`` are pixels in [0, 1], `image_shape`, `target_names`, `feature_names`,
        `split`, `indices` (the places of the rows in their file, of shape (n_samples,)), `DESCR`.

    Raises
    ------
    FileNotFoundError
        If the files are missing and `download_if_missing` is False.
    ConnectionError
        If the files are missing and cannot be fetched.
    ValueError
        If a file is damaged or holds other data, or `split` is unknown.

    References
    ----------
    Evtimova and LeCun, "Sparse coding with multi-layer decoders using variance regularization", TMLR 2022,
    section 4: 55,000, 5,000 and 10,000 images in this scale; the validation images are drawn at random there.

    Examples
    --------
    >>> from skvardict.datasets import fetch_mnist
    >>> mnist = fetch_mnist("test")  # doctest: +SKIP
    >>> mnist.data.shape  # doctest: +SKIP
    (10000, 784)
    """
    return fetch_idx(
        MNIST,
        split,
        standardize=standardize,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
        random_state=random_state,
    )


def fetch_fashion_mnist(
    split: str = "train",
    *,
    standardize: bool = True,
    return_X_y: bool = False,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    random_state: int | None = None,
) -> Any:
    """Return one split of Fashion-MNIST; like `fetch_mnist`, with mean 0.2860 and standard deviation 0.3530.

    Parameters
    ----------
    split, standardize, return_X_y, data_home, download_if_missing, random_state
        As in `fetch_mnist`; the folder is called ``fashion_mnist``.

    Returns
    -------
    bunch : Bunch
        As from `fetch_mnist`.

    Examples
    --------
    >>> from skvardict.datasets import fetch_fashion_mnist
    >>> X, y = fetch_fashion_mnist("test", standardize=False, return_X_y=True)  # doctest: +SKIP
    """
    return fetch_idx(
        FASHION_MNIST,
        split,
        standardize=standardize,
        return_X_y=return_X_y,
        data_home=data_home,
        download_if_missing=download_if_missing,
        random_state=random_state,
    )


def fetch_idx(
    dataset: IDXDataset,
    split: str,
    *,
    standardize: bool = True,
    return_X_y: bool = False,
    data_home: str | os.PathLike | None = None,
    download_if_missing: bool = True,
    random_state: int | None = None,
) -> Any:
    """Return one split of any `IDXDataset`; the parameters are those of `fetch_mnist`."""
    if split not in SPLITS:
        advice = " A random validation part is split='train', random_state=0." if split == "random" else ""
        raise ValueError(f"{dataset.name} has no split {split!r}. Use one of {', '.join(map(repr, SPLITS))}.{advice}")
    _check_seed(dataset, random_state)
    files = TEST_FILES if split == "test" else TRAIN_FILES
    folder = _locate(dataset, files, data_home, download_if_missing)
    sizes = dataset.n_train * math.prod(dataset.image_shape), dataset.n_train
    images, labels = (read_idx(folder / file, size, dataset.md5[file]) for file, size in zip(files, sizes, strict=True))
    indices = _rows_of_split(dataset, split, random_state, len(images))
    if len(indices) < len(images):
        images, labels = images[indices], labels[indices]
    mean, std = (dataset.mean, dataset.std) if standardize else (0.0, 1.0)
    data, target = _scaled(images, mean, std), labels.astype(np.int64)
    if return_X_y:
        return data, target
    return Bunch(
        data=data,
        target=target,
        mean=mean,
        std=std,
        image_shape=dataset.image_shape,
        target_names=list(dataset.target_names),
        feature_names=[f"pixel{index}" for index in range(data.shape[1])],
        split=split,
        indices=indices,
        DESCR=dataset.description,
    )


def _check_seed(dataset: IDXDataset, random_state: Any) -> None:
    if random_state is not None and (not isinstance(random_state, Integral) or random_state < 0):
        raise ValueError(
            f"{dataset.name}: random_state={random_state!r} is not None or an integer of at least 0. Two calls, for "
            "training and validation, have to draw the same rows."
        )


def _rows_of_split(dataset: IDXDataset, split: str, random_state: int | None, n_rows: int) -> NDArray[np.int64]:
    """Return which rows of the file belong to `split`, in their order."""
    if split not in ("train", "validation"):
        return np.arange(n_rows)
    order = np.arange(n_rows) if random_state is None else np.random.RandomState(random_state).permutation(n_rows)
    boundary = dataset.n_train - dataset.n_validation
    return np.sort(order[:boundary] if split == "train" else order[boundary:])


def _scaled(images: NDArray[np.uint8], mean: float, std: float) -> NDArray[np.float32]:
    """Return ``(images / 255 - mean) / std`` as float32 rows, with no other copy on the way."""
    data = np.divide(images.reshape(len(images), -1), 255 * std, dtype=np.float32)
    data -= mean / std
    return data


def _locate(dataset: IDXDataset, files: tuple[str, ...], data_home, download_if_missing: bool) -> Path:
    """Return the first folder that has all `files`, after a download if need be."""
    shared = shared_folder(dataset.folder)
    if shared is not None and _has(shared, files):
        return shared
    cache = cache_folder(dataset.folder, data_home=data_home)
    if _has(cache, files):
        return cache
    place = f"{VARIABLE} is not set" if shared is None else f"not in {shared}"
    missing = f"{dataset.name} was not found ({place}; not in {cache})"
    advice = (
        f"Expected the files {' and '.join(files)}. Set the environment variable {VARIABLE} to a folder that has them "
        f"in {dataset.folder!r}, or copy them to {cache}"
    )
    if not download_if_missing:
        raise FileNotFoundError(f"{missing}. {advice}, or pass download_if_missing=True.")
    try:
        _download(dataset, cache)
    except (OSError, HTTPException) as error:
        raise ConnectionError(f"{missing}, and could not be fetched from OpenML ({error}). {advice}.") from error
    return cache


def _has(folder: Path, files: tuple[str, ...]) -> bool:
    return all((folder / file).is_file() for file in files)


def _download(dataset: IDXDataset, folder: Path) -> None:
    """Fetch all rows from OpenML and write them to `folder` as the four IDX files."""
    # cache=False: the checked IDX files are the cache, a second copy would only take room.
    fetched = fetch_openml(dataset.openml_name, version=1, as_frame=False, cache=False)
    images = np.asarray(fetched.data).astype(np.uint8).reshape(-1, *dataset.image_shape)
    labels = np.asarray(fetched.target).astype(np.uint8)
    n_train = dataset.n_train
    parts = (images[:n_train], labels[:n_train], images[n_train:], labels[n_train:])
    contents = {file: encode_idx(part) for file, part in zip(TRAIN_FILES + TEST_FILES, parts)}
    for file, content in contents.items():
        check_md5([content], dataset.md5[file], f"{file} as rebuilt from {dataset.openml_name!r} on OpenML")
    folder.mkdir(parents=True, exist_ok=True)
    for file, content in contents.items():
        with replacing(folder / file) as opened:
            opened.write(gzip.compress(content, mtime=0))
