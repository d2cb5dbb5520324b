"""From one batch to named losses: a model, plus what trains it."""

from skvardict.objectives.dictionary import DictionaryObjective
from skvardict.objectives.learning import Annealing, Replacement
from skvardict.objectives.masked import MaskedDictionaryObjective
from skvardict.objectives.variational import VariationalObjective

__all__ = ["Annealing", "DictionaryObjective", "MaskedDictionaryObjective", "Replacement", "VariationalObjective"]
