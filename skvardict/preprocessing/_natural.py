"""Normalised patches of photographs, from the pictures to rows and back to pixels."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state

from skvardict._utils.defaults import with_defaults
from skvardict.datasets._patches import check_images, check_request, cut_patches
from skvardict.preprocessing._contrast import LocalContrast, LocalContrastNormalizer, mean_local_deviation
from skvardict.rows import as_numbers, to_array

_BLOCK = 1024  # crops drawn at a time: small requests are then the first rows of large ones
_MAX_FRUITLESS_BLOCKS = 20


@dataclass(frozen=True)
class NormalizedPatches:
    """Locally normalised patches and what is needed to turn them into pixels again.

    Parameters
    ----------
    patches : float32 ndarray of shape (n_patches, height * width)
    local_mean, local_scale : float32 ndarrays of the same shape
        What was subtracted from each pixel and what it was divided by.
    image_index : ndarray of shape (n_patches,)
        Position of the photograph in the list: the groups of a split by photograph.
    image_shape : (int, int)
        Height and width of a patch.
    mean, std : float
        The constants that pixels were standardised with before.
    """

    patches: NDArray[np.float32]
    local_mean: NDArray[np.float32]
    local_scale: NDArray[np.float32]
    image_index: NDArray[np.intp]
    image_shape: tuple[int, int]
    mean: float
    std: float

    def take(self, rows: ArrayLike) -> "NormalizedPatches":
        """Return the given patches (indices, a mask or a slice): those of some photographs, for instance."""
        kept = {name: getattr(self, name)[rows] for name in ("patches", "local_mean", "local_scale", "image_index")}
        return replace(self, **kept)

    def to_pixels(self, patches: ArrayLike | None = None) -> NDArray:
        """Return ``(patches * local_scale + local_mean) * std + mean``, pixels in [0, 1] up to errors.

        Parameters
        ----------
        patches : array-like of shape (n_patches, height * width), optional
            Reconstructions of all patches in their order; by default the patches themselves.

        Returns
        -------
        pixels : ndarray of shape (n_patches, height * width)
        """
        values = self.patches if patches is None else to_array(as_numbers(patches, "patches", allow_masked=False))
        if values.shape != self.patches.shape:
            raise ValueError(
                f"NormalizedPatches.to_pixels expects patches of shape {self.patches.shape}, "
                f"but got {values.shape}. Each patch needs its own local mean and scale: "
                "pass all of them, in order."
            )
        return (values * self.local_scale + self.local_mean) * self.std + self.mean


@with_defaults
def extract_normalized_patches(
    images: Sequence[ArrayLike],
    n_patches: int,
    *,
    shorter_side: int | None = 256,
    crop_size: int = 52,
    mean: float = 0.457,
    std: float = 0.259,
    window_size: int = 13,
    sigma: float = 5.0,
    min_std: float = 0.5,
    floor: str | float = "image",
    random_state: int | np.random.RandomState | None = None,
) -> NormalizedPatches:
    """Cut random crops from photographs and normalise their local contrast.

    Each photograph is resized, standardised by ``(x - mean) / std``, cropped at random, and normalised by
    `LocalContrastNormalizer`; crops with little structure are left out and replaced by others.

    Parameters
    ----------
    images : sequence of 2-D arrays
        Grey photographs with values in [0, 1], from `skvardict.datasets.load_images` for instance.
    n_patches : int
        Number of patches to keep.
    shorter_side : int or None, default=256
        Length that the shorter side of each photograph is resized to; None leaves photographs as they are.
    crop_size : int, default=52
        Side of the square crops; patches have ``crop_size - 2 * (window_size - 1)`` pixels a side, 28 by
        default.
    mean, std : float, default=0.457 and 0.259
        Constants of the standardisation.
    window_size : int, default=13
        Side of the Gaussian window.
    sigma : float, default=5.0
        Its standard deviation in pixels.
    min_std : float, default=0.5
        Patches whose standard deviation after normalisation is smaller are dropped. Larger values keep only
        patches with structure everywhere.
    floor : {"image", "crop"} or float, default="image"
        Below it local deviations do not count as contrast. "image": their mean over the whole photograph, as if the
        photograph were normalised first and cut afterwards; "crop": their mean over each crop, which lifts the contrast
        of smooth ones; a number is the same for all.
    random_state : int, RandomState or None, default=None
        An integer gives the same patches on every call; the first rows do not depend on `n_patches`.

    Returns
    -------
    result : NormalizedPatches
        Three float32 arrays of shape (n_patches, 784) at the defaults: 9.4 kB for each patch.

    Raises
    ------
    ValueError
        If an image is not 2-D, not finite or smaller than a crop, or (almost) no patch reaches `min_std`.

    References
    ----------
    Evtimova and LeCun, "Sparse coding with multi-layer decoders using variance regularization", TMLR 2022,
    section 4 and appendix on data.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.preprocessing import extract_normalized_patches
    >>> photographs = [np.random.default_rng(0).uniform(size=(120, 90))]
    >>> result = extract_normalized_patches(photographs, 10, shorter_side=None, random_state=0)
    >>> result.patches.shape, result.to_pixels().shape
    ((10, 784), (10, 784))
    """
    check_request(n_patches, (crop_size, crop_size))
    if not std > 0:
        raise ValueError(
            f"extract_normalized_patches expects std > 0, but got {std}. Use 1.0 to leave pixels as they are."
        )
    resized = [_standardized(image, shorter_side, mean, std) for image in check_images(images)]
    resized = check_images(resized, (crop_size, crop_size))
    if isinstance(floor, str) and floor not in ("image", "crop"):
        raise ValueError(f"extract_normalized_patches expects floor='image', 'crop' or a number, but got {floor!r}.")
    of_image = floor == "image"
    normalizer = LocalContrastNormalizer(
        (crop_size, crop_size),
        window_size=window_size,
        sigma=sigma,
        floor=0.0 if of_image else "image" if floor == "crop" else floor,  # a crop is the normaliser's image
    )
    rng = check_random_state(random_state)
    normalizer.fit(np.zeros((1, crop_size**2), dtype=np.float32))
    floors = [mean_local_deviation(torch.from_numpy(image), window_size, sigma) for image in resized if of_image]
    parts = np.empty((3, n_patches, prod(normalizer.output_shape_)), dtype=np.float32)
    image_index = np.empty(n_patches, dtype=np.intp)
    n_kept = n_fruitless = 0
    while n_kept < n_patches:
        drawn = cut_patches(resized, _BLOCK, (crop_size, crop_size), rng)
        normalized = normalizer.normalize(drawn.patches)
        if floors:
            normalized = _with_floors(normalized, np.array(floors, dtype=np.float32)[drawn.image_index, None])
        rows = np.flatnonzero(normalized.patches.std(axis=1) >= min_std)[: n_patches - n_kept]
        n_fruitless = 0 if len(rows) else n_fruitless + 1
        if n_fruitless == _MAX_FRUITLESS_BLOCKS:
            raise ValueError(
                f"None of {_MAX_FRUITLESS_BLOCKS * _BLOCK} crops in a row reached min_std={min_std} after "
                "normalisation. Lower min_std, or use photographs with more structure."
            )
        target = slice(n_kept, n_kept + len(rows))
        for part, values in zip(parts, normalized):
            part[target] = values[rows]
        image_index[target] = drawn.image_index[rows]
        n_kept += len(rows)
    return NormalizedPatches(parts[0], parts[1], parts[2], image_index, normalizer.output_shape_, mean, std)


def _with_floors(normalized: LocalContrast, floors: NDArray) -> LocalContrast:
    """Return what divisors of at least the floor of each row make of rows that had none."""
    scale = np.maximum(normalized.local_scale, floors)
    return LocalContrast(normalized.patches * (normalized.local_scale / scale), normalized.local_mean, scale)


def _standardized(image: NDArray, shorter_side: int | None, mean: float, std: float) -> NDArray[np.float32]:
    """Return the resized and standardised photograph in float32."""
    values = np.array(image, dtype=np.float32)
    if shorter_side is not None:
        height, width = (round(side * shorter_side / min(values.shape)) for side in values.shape)
        # antialias: a plain bilinear filter would skip pixels where a photograph shrinks
        pixels = torch.nn.functional.interpolate(
            torch.from_numpy(values)[None, None], size=(height, width), mode="bilinear", antialias=True
        )
        values = pixels[0, 0].numpy()
    return (values - np.float32(mean)) / np.float32(std)
