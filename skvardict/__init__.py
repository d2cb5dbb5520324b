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
    alpha_for_nonzeros,
    alpha_max,
    load,
    save,
    sparse_encode,
    sparse_encode_path,
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
    "alpha_for_nonzeros",
    "alpha_max",
    "load",
    "save",
    "sparse_encode",
    "sparse_encode_path",
]
