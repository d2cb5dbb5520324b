"""Random patches as a transformer."""

from math import prod
from numbers import Integral
from typing import Any, ClassVar, Self

from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skvardict._sklearn import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from skvardict._utils.state import fits_at_once
from skvardict._utils.types import Images, RandomState
from skvardict.datasets._patches import DrawnPatches, check_images, check_request, draw_patches


class PatchSampler(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator):
    """Cut random patches from images of several sizes and return them as rows.

    Each patch comes from an image drawn uniformly, at a place drawn uniformly. In contrast to scikit-learn's
    ``PatchExtractor`` the images need not have one size, and the number of patches is that of all images
    together.

    Parameters
    ----------
    patch_size : (int, int), default=(28, 28)
        Height and width of a patch in pixels. Patches of images in colour have all channels.
    n_patches : int, default=1000
        Number of patches in all.
    random_state : int, RandomState or None, default=None
        An integer gives the same patches on every call of `transform`, None other ones.

    Notes
    -----
    There is nothing to fit but the number of channels. `transform` changes the number of rows, so this belongs before a
    pipeline, or in front of one that has no labels. float32 and float64 are kept, any other dtype becomes float32.

    Examples
    --------
    >>> import numpy as np
    >>> from skvardict.preprocessing import PatchSampler
    >>> images = [np.zeros((40, 60)), np.ones((50, 30))]
    >>> PatchSampler((8, 8), n_patches=100, random_state=0).fit_transform(images).shape
    (100, 64)
    """

    _parameter_constraints: ClassVar[dict] = {
        "patch_size": [tuple, list],
        "n_patches": [Integral],
        "random_state": ["random_state"],
    }

    def __init__(self, patch_size: tuple[int, int] = (28, 28), n_patches: int = 1000, random_state: RandomState = None):
        self.patch_size = patch_size
        self.n_patches = n_patches
        self.random_state = random_state

    @fits_at_once
    def fit(self, images: Images, y: Any = None) -> Self:
        """Check the parameters and the images; nothing is learned.

        Parameters
        ----------
        images : list of arrays of shape (height, width) or (height, width, channels), or an array of as many
        y : ignored

        Returns
        -------
        self : PatchSampler
        """
        arrays = check_images(images, self._checked_size(), allow_colour=True)
        self.n_channels_ = prod(arrays[0].shape[2:])
        return self

    def transform(self, images: Images) -> NDArray:
        """Return random patches of `images` as rows.

        Parameters
        ----------
        images : list of arrays of shape (height, width) or (height, width, channels), or an array of as many

        Returns
        -------
        patches : ndarray of shape (n_patches, height * width), times channels
        """
        return self.sample(images).patches

    def sample(self, images: Images) -> DrawnPatches:
        """Return random patches together with where they come from.

        Parameters
        ----------
        images : list of arrays of shape (height, width) or (height, width, channels), or an array of as many

        Returns
        -------
        drawn : DrawnPatches
            `patches` of shape (n_patches, height * width * channels), `image_index` of shape (n_patches,) (the groups
            of a split by photograph), `corners` of shape (n_patches, 2), the upper left pixels.

        Raises
        ------
        ValueError
            If there are no images, one is neither grey nor of as many channels as the first, not finite or smaller than
            a patch, or a parameter is out of its range.
        """
        size = self._checked_size()
        rng = check_random_state(self.random_state)
        return draw_patches(images, self.n_patches, size, rng, allow_colour=True)

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.requires_fit = False
        tags.input_tags.two_d_array = False
        tags.input_tags.three_d_array = True
        return tags

    @property
    def _n_features_out(self) -> int:
        return prod(self.patch_size) * getattr(self, "n_channels_", 1)

    def _checked_size(self) -> tuple[int, int]:
        self._validate_params()
        check_request(self.n_patches, self.patch_size)
        height, width = self.patch_size
        return height, width
