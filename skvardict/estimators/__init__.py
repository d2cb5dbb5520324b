"""Estimators: thin shells that assemble networks, objective and loop."""

from skvardict.estimators._encode import alpha_max, sparse_encode
from skvardict.estimators._files import load, save
from skvardict.estimators._path import SparsePath, alpha_for_nonzeros, sparse_encode_path
from skvardict.estimators.dictionary import (
    StandardDictionaryLearning,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)
from skvardict.estimators.sparse_coder import SparseCoder
from skvardict.estimators.variational import SparseVAE, SpikeAndSlabVSC, ThresholdedVSC

__all__ = [
    "SparseCoder",
    "SparsePath",
    "SparseVAE",
    "SpikeAndSlabVSC",
    "StandardDictionaryLearning",
    "ThresholdedVSC",
    "VarianceDictionaryLearning",
    "WeightDecayDictionaryLearning",
    "alpha_for_nonzeros",
    "alpha_max",
    "load",
    "save",
    "sparse_encode",
    "sparse_encode_path",
]
