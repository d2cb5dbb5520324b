"""From one batch to named losses."""

from skvardict.objectives.dictionary import DictionaryObjective
from skvardict.objectives.latents import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent
from skvardict.objectives.variational import VariationalObjective

__all__ = [
    "DenseLatent",
    "DictionaryObjective",
    "SpikeAndSlabLatent",
    "ThresholdedLatent",
    "VariationalObjective",
]
