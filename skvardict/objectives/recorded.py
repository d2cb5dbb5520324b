"""Steps of objectives as one launch of a GPU: losses, sums and gradients of a batch."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils import ranks
from skvardict.functional.graphs import evaluated
from skvardict.models.dictionary import TunedWeight
from skvardict.models.variational import LearntNoise
from skvardict.networks import LinearDecoder, LISTAEncoder, MLPDecoder, ResidualMLPEncoder
from skvardict.training.protocol import Step

# Parts without dropout, running statistics or code of a user.
_RECORDED = (
    LinearDecoder,
    MLPDecoder,
    LISTAEncoder,
    ResidualMLPEncoder,
    TunedWeight,
    LearntNoise,
    nn.Linear,
    nn.ReLU,
    nn.Identity,
    nn.Sequential,
    nn.ModuleList,
    nn.ParameterList,
)


def may_be_recorded(X: Tensor, modules: Iterable[nn.Module]) -> bool:
    """Return whether a step on the batch `X` depends on rows and weights alone, and is worth a graph."""
    if not X.is_cuda or ranks.current() is not None:
        return False
    return all(isinstance(part, _RECORDED) for module in modules for part in module.modules())


def recorded_step(make: Callable[..., Step], parts: tuple[Any, ...], modules: Iterable[nn.Module]) -> Step:
    """Return ``make(*parts)``, with the gradients of its losses in the weights instead of losses that have them.

    Parameters
    ----------
    make : callable
        As :func:`~skvardict.functional.graphs.evaluated` takes it.
    parts : tuple
        The modules among them.
    modules : iterable of Module
        Those that are trained.
    """
    weights = [weight for module in modules for weight in module.parameters() if weight.requires_grad]

    def learn(*parts: Any) -> tuple[Step, tuple[Tensor | None, ...]]:
        with torch.enable_grad():
            made = make(*parts)
            learnt = [loss.sum() for loss in made.losses.values() if loss.requires_grad]
            gradients = torch.autograd.grad(learnt, weights, allow_unused=True) if learnt else (None,) * len(weights)
        return made._replace(losses={name: loss.detach() for name, loss in made.losses.items()}), gradients

    made, gradients = evaluated(learn, parts, (make.__module__, make.__qualname__))
    for weight, gradient in zip(weights, gradients, strict=True):
        weight.grad = gradient
    return made
