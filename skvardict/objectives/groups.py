"""What an optimiser is told of the parts of a model."""

from torch import nn

from skvardict.networks import LinearDecoder
from skvardict.training.protocol import ParameterGroup


def decoder_group(
    decoder: nn.Module, weight_decay: float = 0.0, atom_norm: float | None = None, *, positive: bool = False
) -> ParameterGroup:
    """Return the trained tensors of a decoder; `weight_decay` is what the model adds."""
    is_dictionary = isinstance(decoder, LinearDecoder)
    return ParameterGroup("decoder", dict(decoder.named_parameters()), weight_decay, is_dictionary, atom_norm, positive)


def encoder_group(encoder: nn.Module) -> ParameterGroup:
    """Return the trained tensors of an encoder."""
    return ParameterGroup("encoder", dict(encoder.named_parameters()))
