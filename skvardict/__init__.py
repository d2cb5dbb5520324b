"""Sparse representation learning for scikit-learn users, on torch."""

from skvardict._version import __version__
from skvardict.estimators import (
    SparseCoder,
    SparseVAE,
    SpikeAndSlabVSC,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
    alpha_max,
    load,
    save,
    sparse_encode,
)

__all__ = [
    "SparseCoder",
    "SparseVAE",
    "SpikeAndSlabVSC",
    "StandardDictionaryLearning",
    "ThresholdedVSC",
    "VarianceDictionaryLearning",
    "WeightDecayDictionaryLearning",
    "__version__",
    "alpha_max",
    "load",
    "save",
    "sparse_encode",
]
