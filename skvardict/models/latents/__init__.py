"""The families of codes, one file per family: from outputs of the encoder to a posterior, its draws, its divergence."""

from skvardict.models.latents._base import Anneal, Latent, Noise
from skvardict.models.latents.dense import DenseLatent
from skvardict.models.latents.spike_and_slab import SpikeAndSlabLatent
from skvardict.models.latents.thresholded import ThresholdedLatent

__all__ = ["Anneal", "DenseLatent", "Latent", "Noise", "SpikeAndSlabLatent", "ThresholdedLatent"]
