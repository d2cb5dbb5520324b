"""Initial weights, drawn from a private generator."""

from math import sqrt

import torch
from torch import Tensor


def uniform_fan_in(*shape: int, fan_in: int, generator: torch.Generator) -> Tensor:
    """Return weights uniform in ``+-1/sqrt(fan_in)``, as in the experiments of Evtimova & LeCun (2022)."""
    bound = 1 / sqrt(fan_in)
    return torch.empty(*shape).uniform_(-bound, bound, generator=generator)
