"""Displays: data computed once on construction, drawn by ``plot()``."""

from skvardict.display._dictionary import DictionaryDisplay

__all__ = ["DictionaryDisplay"]
