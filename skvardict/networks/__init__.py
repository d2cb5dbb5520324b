"""Decoders and encoders. Modules are rebuilt from arrays on demand; estimators never hold one."""

from skvardict.networks.builders import build_decoder, build_encoder
from skvardict.networks.constraints import normalize_atoms_
from skvardict.networks.decoders import LinearDecoder, MLPDecoder
from skvardict.networks.encoders import LISTAEncoder

__all__ = [
    "LISTAEncoder",
    "LinearDecoder",
    "MLPDecoder",
    "build_decoder",
    "build_encoder",
    "normalize_atoms_",
]
