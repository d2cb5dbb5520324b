"""From the names that estimators take, or a user's builder, to modules."""

from collections.abc import Sequence
from copy import deepcopy

import numpy as np
import torch
from torch import nn

from skvardict._utils.random import private_global_generator
from skvardict.networks.convolutional import CONV_NETWORKS, ConvDecoder, ConvEncoder, check_image_shape
from skvardict.networks.decoders import AffineDecoder, LinearDecoder, MLPDecoder
from skvardict.networks.encoders import LISTAEncoder, MLPEncoder, ResidualEncoder


def build_decoder(
    decoder,
    n_features: int,
    n_components: int,
    *,
    hidden_layer_sizes: Sequence[int],
    generator: torch.Generator,
    image_shape: Sequence[int] | None = None,
    centered: bool = False,
) -> nn.Module:
    """Return a decoder module for the name "linear", "mlp", "conv", "fmnist" or "celeba", or for a builder.

    With `centered` the linear one has a constant offset.
    """
    if decoder == "linear":
        return (AffineDecoder if centered else LinearDecoder)(n_components, n_features, generator)
    if decoder == "mlp":
        _check_sizes("hidden_layer_sizes", hidden_layer_sizes)
        return MLPDecoder(n_components, n_features, hidden_layer_sizes, generator)
    if isinstance(decoder, str) and decoder in CONV_NETWORKS:
        shape = check_image_shape(image_shape, n_features, decoder)
        with private_global_generator(generator):
            return ConvDecoder(decoder, n_components, shape)
    return _call_builder("decoder", decoder, n_features, n_components, generator)


def build_encoder(
    encoder,
    n_features: int,
    n_components: int,
    *,
    n_iter: int,
    positive: bool,
    generator: torch.Generator,
) -> nn.Module | None:
    """Return an encoder module for the name "lista" or for a builder; None for None."""
    if encoder is None:
        return None
    if encoder == "lista":
        return LISTAEncoder(n_features, n_components, n_iter=n_iter, positive=positive, generator=generator)
    return _call_builder("encoder", encoder, n_features, n_components, generator)


def build_posterior_encoder(
    encoder,
    n_features: int,
    n_outputs: int,
    *,
    hidden_layer_sizes: Sequence[int],
    image_shape: Sequence[int] | None,
    generator: torch.Generator,
) -> nn.Module:
    """Return an encoder of `n_outputs` numbers per row, for "mlp", "resnet", "conv", "fmnist", "celeba" or a builder.

    A builder is called with `n_features` and `n_outputs`.
    """
    if isinstance(encoder, str) and encoder in CONV_NETWORKS:
        shape = check_image_shape(image_shape, n_features, encoder)
        with private_global_generator(generator):
            return ConvEncoder(encoder, shape, n_outputs)
    if encoder in ("mlp", "resnet"):
        _check_sizes("encoder_hidden_layer_sizes", hidden_layer_sizes)
        kind = MLPEncoder if encoder == "mlp" else ResidualEncoder
        with private_global_generator(generator):
            return kind(n_features, n_outputs, hidden_layer_sizes)
    return _call_builder("encoder", encoder, n_features, n_outputs, generator)


def _check_sizes(name: str, sizes: Sequence[int]) -> None:
    if not all(isinstance(size, int | np.integer) and size > 0 for size in sizes):
        raise ValueError(f"{name} must be whole numbers of units, each at least 1, but is {sizes!r}.")


def _call_builder(role: str, builder, n_features: int, n_components: int, generator: torch.Generator) -> nn.Module:
    # A user's module draws its weights from torch's global generator: lend it a seeded one and put the old back.
    with private_global_generator(generator):
        module = builder(n_features, n_components)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"{role}= must be a name or a builder (n_features, n_components) -> torch.nn.Module, but the builder "
            f"{builder!r} returned {type(module).__name__}. Return a module from it."
        )
    n_in, n_out = (n_components, n_features) if role == "decoder" else (n_features, n_components)
    rows = next(module.parameters(), torch.empty(0)).new_zeros(2, n_in)
    with torch.no_grad():
        shape = tuple(deepcopy(module).eval()(rows).shape)
    if shape != (2, n_out):
        raise ValueError(
            f"{role}= must map rows of {n_in} numbers to rows of {n_out}, but the module of the builder {builder!r} "
            f"made an array of shape {shape} of two rows. Change the size of its last layer."
        )
    return module
