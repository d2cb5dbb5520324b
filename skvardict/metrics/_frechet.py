"""Frechet distance between two sets of rows, in the features that a user chooses."""

from collections.abc import Callable
from math import prod

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from skvardict._utils.defaults import with_defaults
from skvardict.metrics._arrays import as_float64
from skvardict.rows import as_numbers


@with_defaults
def frechet_distance(
    X: ArrayLike | Tensor,
    Y: ArrayLike | Tensor,
    *,
    feature_extractor: Callable | None = None,
    batch_size: int = 256,
) -> float:
    """Return the squared Frechet distance between Gaussians fitted to features of `X` and of `Y`.

    ``|m_X - m_Y|^2 + trace(C_X + C_Y - 2 (C_X C_Y)^(1/2))`` with means m and unbiased covariances C: 0 for
    equal moments. With the features of an Inception network (:func:`inception_features`) it is the FID.

    Parameters
    ----------
    X, Y : array-like or Tensor of shape (n_samples_X, n_features) and (n_samples_Y, n_features)
        For example held-out images and their reconstructions. At least two rows each.
    feature_extractor : callable, optional
        Maps rows (n, n_features) to features (n, n_extracted), arrays or tensors; by default the rows themselves.
    batch_size : int, default=256
        Rows given to `feature_extractor` at a time.

    Returns
    -------
    distance : float
        Biased upwards by the finite number of rows: compare values at equal numbers only. The cost is cubic in the
        number of features or of rows, whichever is smaller.

    Raises
    ------
    ValueError
        If the shapes do not fit or there are fewer than two rows.

    References
    ----------
    Heusel et al., "GANs trained by a two time-scale update rule converge to a local Nash equilibrium",
    NeurIPS 2017, eq. (6).

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.metrics import frechet_distance
    >>> X = np.random.default_rng(0).normal(size=(100, 3))
    >>> round(frechet_distance(X, X + 2.0), 6)
    12.0
    """
    first, second = (_features(name, rows, feature_extractor, batch_size) for name, rows in (("X", X), ("Y", Y)))
    if first.shape[1] != second.shape[1]:
        raise ValueError(
            f"frechet_distance expects X and Y of equal features, but got {first.shape[1]} and {second.shape[1]}. "
            "Compare rows of one kind."
        )
    difference = first.mean(0) - second.mean(0)
    deviations = [(rows - rows.mean(0)) / np.sqrt(len(rows) - 1) for rows in (first, second)]
    spread = sum(float((rows**2).sum()) for rows in deviations)
    return float(difference @ difference) + spread - 2 * _overlap(*deviations)


@with_defaults
def inception_features(image_shape: tuple[int, ...], *, device: str | torch.device = "cpu") -> Callable:
    """Return the Inception-v3 feature extractor of the FID, 2048 features, for `frechet_distance`.

    Needs the optional extra: ``pip install skvardict[metrics]`` (torchmetrics); the first use downloads the weights.

    Parameters
    ----------
    image_shape : (height, width) or (n_channels, height, width)
        Of one row; a single channel is repeated three times.
    device : str or torch.device, default="cpu"

    Returns
    -------
    feature_extractor : callable
        Rows (n, n_features) of pixels in [0, 1] to features (n, 2048).

    Raises
    ------
    ImportError
        If torchmetrics or what it needs for Inception is missing.

    Examples
    --------
    >>> from skvardict.metrics import frechet_distance, inception_features
    >>> frechet_distance(X, Y, feature_extractor=inception_features((28, 28)))  # doctest: +SKIP
    """
    try:
        from torchmetrics.image.fid import FrechetInceptionDistance

        network = FrechetInceptionDistance(feature=2048).inception.to(device).eval()
    except ImportError as error:  # torchmetrics raises its own subclass where the Inception package is missing
        raise ImportError(
            "inception_features needs torchmetrics with its image extra, which is not installed: "
            "pip install skvardict[metrics]"
        ) from error
    channels = image_shape if len(image_shape) == 3 else (1, *image_shape)

    def extract(rows) -> Tensor:
        pixels = (rows if isinstance(rows, Tensor) else torch.tensor(rows)).to(device=device, dtype=torch.float32)
        if pixels.shape[1] != prod(image_shape):
            raise ValueError(
                f"inception_features was made for image_shape={image_shape}, {prod(image_shape)} pixels, but the rows "
                f"have {pixels.shape[1]}. Pass the shape of the rows."
            )
        images = (pixels.clamp(0, 1) * 255).round().to(torch.uint8).reshape(-1, *channels)
        with torch.no_grad():
            return network(images.expand(-1, 3, -1, -1))

    return extract


def _features(name: str, rows, extractor: Callable | None, batch_size: int) -> NDArray[np.float64]:
    if extractor is not None:
        rows = as_numbers(rows, f"frechet_distance: {name}", allow_masked=False)
        if len(rows) == 0:
            raise ValueError(f"frechet_distance expects at least two rows, but {name} has none.")
        batches = [extractor(rows[start : start + batch_size]) for start in range(0, len(rows), batch_size)]
        rows = np.concatenate([as_float64("frechet_distance", name, batch, ("n", "n_extracted")) for batch in batches])
    features = as_float64("frechet_distance", name, rows, ("n_samples", "n_features"))
    if len(features) < 2:
        raise ValueError(
            f"frechet_distance expects at least two rows, but {name} has 1. A covariance needs more than one row."
        )
    return features


def _overlap(A: NDArray, B: NDArray) -> float:
    """Return ``trace((C D)^(1/2))`` for ``C = A^T A`` and ``D = B^T B``, without a complex matrix root.

    The eigenvalues of C D are the squared singular values of A B^T; A and B may be replaced by symmetric roots of C and
    D where that makes the product smaller.
    """
    small = [rows if len(rows) <= rows.shape[1] else _square_root(rows.T @ rows) for rows in (A, B)]
    return float(np.linalg.svd(small[0] @ small[1].T, compute_uv=False).sum())


def _square_root(matrix: NDArray) -> NDArray:
    """Return the symmetric square root of a positive semi-definite matrix."""
    values, vectors = np.linalg.eigh(matrix)
    return (vectors * np.sqrt(values.clip(0))) @ vectors.T
