"""From one batch to named losses: a model, plus what trains it."""

from skvardict.objectives._variational import BaseVariationalObjective
from skvardict.objectives.dictionary import DictionaryObjective
from skvardict.objectives.learning import Annealing, Replacement
from skvardict.objectives.masked import MaskedDictionaryObjective
from skvardict.objectives.variational import VariationalObjective
from skvardict.objectives.variational_exact import ExactVariationalObjective

__all__ = [
    "Annealing",
    "BaseVariationalObjective",
    "DictionaryObjective",
    "ExactVariationalObjective",
    "MaskedDictionaryObjective",
    "Replacement",
    "VariationalObjective",
]
