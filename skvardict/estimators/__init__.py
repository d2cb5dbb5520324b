"""Estimators: thin shells that assemble networks, objective and loop."""

from skvardict.estimators._encode import alpha_max, sparse_encode
from skvardict.estimators._files import load
from skvardict.estimators.dictionary import (
    StandardDictionaryLearning,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)

__all__ = [
    "StandardDictionaryLearning",
    "VarianceDictionaryLearning",
    "WeightDecayDictionaryLearning",
    "alpha_max",
    "load",
    "sparse_encode",
]
