"""Displays: data computed once on construction, drawn by ``plot()``."""

from skvardict.display._curves import LowLabelDisplay, RegretCurveDisplay
from skvardict.display._denoising import DenoisingDisplay
from skvardict.display._dictionary import DictionaryDisplay
from skvardict.display._encoder import EncoderDisplay
from skvardict.display._history import HistoryDisplay

__all__ = [
    "DenoisingDisplay",
    "DictionaryDisplay",
    "EncoderDisplay",
    "HistoryDisplay",
    "LowLabelDisplay",
    "RegretCurveDisplay",
]
