"""A decoder and an encoder, with the way from rows to codes and back; no losses, no optimiser."""

from skvardict.models.dictionary import DictionaryModel, TunedWeight
from skvardict.models.latents import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent
from skvardict.models.masked import MaskedDictionaryModel
from skvardict.models.masked_variational import MaskedVariationalModel
from skvardict.models.variational import LearntNoise, VariationalModel

__all__ = [
    "DenseLatent",
    "DictionaryModel",
    "LearntNoise",
    "MaskedDictionaryModel",
    "MaskedVariationalModel",
    "SpikeAndSlabLatent",
    "ThresholdedLatent",
    "TunedWeight",
    "VariationalModel",
]
