"""Decoders and encoders. Modules are rebuilt from arrays on demand; estimators never hold one."""

from skvardict.networks.builders import build_decoder, build_encoder, build_posterior_encoder
from skvardict.networks.constraints import normalize_atoms_
from skvardict.networks.convolutional import ConvDecoder, ConvEncoder
from skvardict.networks.decoders import AffineDecoder, LinearDecoder, MLPDecoder, coding_problem, reconstruction_loss
from skvardict.networks.encoders import LISTAEncoder, MLPEncoder, ResidualEncoder

__all__ = [
    "AffineDecoder",
    "ConvDecoder",
    "ConvEncoder",
    "LISTAEncoder",
    "LinearDecoder",
    "MLPDecoder",
    "MLPEncoder",
    "ResidualEncoder",
    "build_decoder",
    "build_encoder",
    "build_posterior_encoder",
    "coding_problem",
    "normalize_atoms_",
    "reconstruction_loss",
]
