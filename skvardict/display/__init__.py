"""Displays: data computed once on construction, drawn by ``plot()``."""

from skvardict.display._activity import ActivityDisplay, ReceptiveFieldDisplay
from skvardict.display._curves import LowLabelDisplay, RegretCurveDisplay
from skvardict.display._denoising import DenoisingDisplay
from skvardict.display._dictionary import DictionaryDisplay
from skvardict.display._encoder import EncoderDisplay
from skvardict.display._generated import LatentSweepDisplay, SamplesDisplay
from skvardict.display._history import HistoryDisplay

__all__ = [
    "ActivityDisplay",
    "DenoisingDisplay",
    "DictionaryDisplay",
    "EncoderDisplay",
    "HistoryDisplay",
    "LatentSweepDisplay",
    "LowLabelDisplay",
    "ReceptiveFieldDisplay",
    "RegretCurveDisplay",
    "SamplesDisplay",
]
