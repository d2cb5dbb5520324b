"""Sparse representation learning for scikit-learn users, on torch."""

from skvardict.estimators import (
    SparseVAE,
    SpikeAndSlabVSC,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
    alpha_max,
    sparse_encode,
)

__version__ = "0.1.0"

__all__ = [
    "SparseVAE",
    "SpikeAndSlabVSC",
    "StandardDictionaryLearning",
    "ThresholdedVSC",
    "VarianceDictionaryLearning",
    "WeightDecayDictionaryLearning",
    "__version__",
    "alpha_max",
    "sparse_encode",
]
