"""Transformers between photographs or raw rows and what the models are fitted on."""

from skvardict.preprocessing._contrast import LocalContrast, LocalContrastNormalizer
from skvardict.preprocessing._natural import NormalizedPatches, extract_normalized_patches
from skvardict.preprocessing._overlapping import OverlappingPatches
from skvardict.preprocessing._patches import PatchSampler
from skvardict.preprocessing._standardize import GlobalStandardizer
from skvardict.preprocessing._whitening import FourierWhitener

__all__ = [
    "FourierWhitener",
    "GlobalStandardizer",
    "LocalContrast",
    "LocalContrastNormalizer",
    "NormalizedPatches",
    "OverlappingPatches",
    "PatchSampler",
    "extract_normalized_patches",
]
