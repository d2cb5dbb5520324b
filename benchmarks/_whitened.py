"""Whitened patches as Fallah & Rozell and Jiang & de la Iglesia use them, split by photograph."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.preprocessing import StandardScaler

from skvardict.datasets import load_whitened_patches

PATCH = (16, 16)


@dataclass
class Patches:
    """Rows of 256 pixels: 8 photographs to train, 2 to test."""

    train: NDArray
    test: NDArray


def load_raw(n_train: int, n_test: int, seed: int = 0) -> Patches:
    return Patches(
        load_whitened_patches(n_train, PATCH, split="train", random_state=seed).data,
        load_whitened_patches(n_test, PATCH, split="test", random_state=seed).data,
    )


def load_standardized(n_train: int, n_test: int) -> Patches:
    """Every pixel of the training patches has mean 0 and variance 1, so that E|x|^2 = 256."""
    raw = load_raw(n_train, n_test)
    scaler = StandardScaler().fit(raw.train)
    return Patches(*(scaler.transform(rows).astype(np.float32) for rows in (raw.train, raw.test)))


def load_centred(n_train: int, n_test: int) -> Patches:
    """Raw scale (pixel variance 0.1), the mean of each patch removed."""
    raw = load_raw(n_train, n_test)
    return Patches(*(rows - rows.mean(1, keepdims=True) for rows in (raw.train, raw.test)))
