"""From one batch to named losses."""

from skvardict.objectives.dictionary import DictionaryObjective

__all__ = ["DictionaryObjective"]
