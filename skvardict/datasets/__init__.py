"""Data sets: fetchers that check what they read, and generators with a known answer."""

from skvardict.datasets._images import load_images, load_natural_patches
from skvardict.datasets._mnist import fetch_fashion_mnist, fetch_mnist
from skvardict.datasets._signals import make_sparse_coded_signals
from skvardict.datasets._whitened import load_whitened_patches

__all__ = [
    "fetch_fashion_mnist",
    "fetch_mnist",
    "load_images",
    "load_natural_patches",
    "load_whitened_patches",
    "make_sparse_coded_signals",
]
