"""Estimators: thin shells that assemble networks, objective and loop."""

from skvardict.estimators._encode import alpha_max, sparse_encode
from skvardict.estimators.dictionary import VarianceDictionaryLearning

__all__ = ["VarianceDictionaryLearning", "alpha_max", "sparse_encode"]
