"""Displays: data computed once on construction, drawn by ``plot()``."""

from skvardict.display._activity import ActivityDisplay, ReceptiveFieldDisplay
from skvardict.display._dictionary import DictionaryDisplay
from skvardict.display._generated import LatentSweepDisplay, SamplesDisplay

__all__ = [
    "ActivityDisplay",
    "DictionaryDisplay",
    "LatentSweepDisplay",
    "ReceptiveFieldDisplay",
    "SamplesDisplay",
]
