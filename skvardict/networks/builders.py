"""From what estimators take as `decoder` and `encoder` (a name, a part, a builder) to modules."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import torch
from torch import nn

from skvardict._utils.parameters import Part
from skvardict._utils.random import private_global_generator
from skvardict.networks.linear import Linear
from skvardict.networks.lista import LISTA
from skvardict.networks.mlp import MLP
from skvardict.networks.residual_mlp import ResidualMLP
from skvardict.networks.resnet import ResNet

Builder = Callable[[int, int], nn.Module]

# What names stand for, where an estimator does not say otherwise.
DECODERS: dict[str, Part] = {"linear": Linear(), "mlp": MLP()}
CODE_ENCODERS: dict[str, Part] = {"lista": LISTA(), "mlp": MLP(), "residual_mlp": ResidualMLP(), "resnet": ResNet()}
POSTERIOR_ENCODERS: dict[str, Part] = {"mlp": MLP((512, 512)), "residual_mlp": ResidualMLP(), "resnet": ResNet()}


def build_decoder(
    decoder: Any,
    n_features: int,
    n_components: int,
    *,
    generator: torch.Generator,
    names: Mapping[str, Part] = DECODERS,
) -> nn.Module:
    """Return a decoder module for a name, a part with ``build_decoder``, or a builder."""
    part = _named(decoder, names)
    if callable(part):
        return _call_builder("decoder", part, n_features, n_components, generator)
    return _method(part, "build_decoder", "decoder", "decodes")(n_features, n_components, generator)


def build_code_encoder(
    encoder: Any,
    n_features: int,
    n_components: int,
    *,
    positive: bool,
    generator: torch.Generator,
    names: Mapping[str, Part] = CODE_ENCODERS,
) -> nn.Module | None:
    """Return an encoder of codes for a name, a part with ``build_code_encoder``, or a builder; None for None."""
    part = _named(encoder, names)
    if part is None:
        return None
    if callable(part):
        return _call_builder("encoder", part, n_features, n_components, generator)
    build = _method(part, "build_code_encoder", "encoder", "predicts codes")
    return build(n_features, n_components, positive=positive, generator=generator)


def build_posterior_encoder(
    encoder: Any,
    n_features: int,
    n_outputs: int,
    *,
    generator: torch.Generator,
    names: Mapping[str, Part] = POSTERIOR_ENCODERS,
) -> nn.Module:
    """Return an encoder of `n_outputs` numbers per row for a name, a part with ``build_encoder``, or a builder."""
    part = _named(encoder, names)
    if callable(part):
        return _call_builder("encoder", part, n_features, n_outputs, generator)
    build = _method(part, "build_encoder", "encoder", "gives the parameters of a posterior")
    return build(n_features, n_outputs, generator)


def _named(value: Any, names: Mapping[str, Part]) -> Any:
    return names.get(value, value) if isinstance(value, str) else value


def _method(part: Part, name: str, role: str, does: str) -> Callable[..., nn.Module]:
    method = getattr(part, name, None)
    if method is None:
        raise ValueError(
            f"{role}={part!r} is no part that {does}. Use another one of skvardict.networks, or a builder of your own."
        )
    return method


def _call_builder(
    role: str, builder: Builder, n_features: int, n_components: int, generator: torch.Generator
) -> nn.Module:
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
