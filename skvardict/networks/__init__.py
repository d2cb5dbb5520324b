"""Decoders and encoders. Modules are rebuilt from arrays on demand; estimators never hold one."""

from skvardict.networks.builders import (
    CODE_ENCODERS,
    DECODERS,
    POSTERIOR_ENCODERS,
    build_code_encoder,
    build_decoder,
    build_posterior_encoder,
)
from skvardict.networks.constraints import constrain_atoms_
from skvardict.networks.convolutional import Conv, ConvDecoder, ConvEncoder
from skvardict.networks.decoders import AffineDecoder, LinearDecoder, MLPDecoder, coding_problem, reconstruction_loss
from skvardict.networks.encoder_parts import EncoderPart
from skvardict.networks.linear import Linear
from skvardict.networks.lista import LISTA, LISTAEncoder
from skvardict.networks.mlp import MLP, MLPEncoder
from skvardict.networks.residual_mlp import ResidualMLP, ResidualMLPEncoder
from skvardict.networks.resnet import ResNet, ResNetEncoder

__all__ = [
    "CODE_ENCODERS",
    "DECODERS",
    "LISTA",
    "MLP",
    "POSTERIOR_ENCODERS",
    "AffineDecoder",
    "Conv",
    "ConvDecoder",
    "ConvEncoder",
    "EncoderPart",
    "LISTAEncoder",
    "Linear",
    "LinearDecoder",
    "MLPDecoder",
    "MLPEncoder",
    "ResNet",
    "ResNetEncoder",
    "ResidualMLP",
    "ResidualMLPEncoder",
    "build_code_encoder",
    "build_decoder",
    "build_posterior_encoder",
    "coding_problem",
    "constrain_atoms_",
    "reconstruction_loss",
]
