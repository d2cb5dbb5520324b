"""Encoders: rows (..., n, d) to predicted codes (..., n, l)."""

import torch
from torch import Tensor, nn

from skvardict.functional import affine, soft_threshold
from skvardict.networks._init import uniform_fan_in


class LISTAEncoder(nn.Module):
    """Learned ISTA: ``u = x U + b, z_0 = relu(u), z_i = relu(u + z_{i-1} S)``, i = 1..n_iter.

    With signed codes ReLU gives way to soft thresholding with a learned non-negative threshold per component.

    Parameters
    ----------
    n_features, n_components : int
    n_iter : int
        Number of recurrent steps; 3 in the paper.
    positive : bool
        Whether codes are non-negative.
    generator : torch.Generator
        Draws the initial weights.

    References
    ----------
    Gregor & LeCun, Learning fast approximations of sparse coding, ICML 2010.
    Evtimova & LeCun, TMLR 2022, algorithm 1.
    """

    def __init__(
        self,
        n_features: int,
        n_components: int,
        *,
        n_iter: int = 3,
        positive: bool = True,
        generator: torch.Generator,
    ):
        super().__init__()
        self.n_iter = n_iter
        self.input = nn.Parameter(uniform_fan_in(n_features, n_components, fan_in=n_features, generator=generator))
        self.recurrent = nn.Parameter(
            uniform_fan_in(n_components, n_components, fan_in=n_components, generator=generator)
        )
        self.bias = nn.Parameter(torch.zeros(n_components))
        # softplus(-2) = 0.13: small against codes of unit scale, and with a gradient that is alive.
        self.raw_threshold = None if positive else nn.Parameter(torch.full((n_components,), -2.0))

    def forward(self, X: Tensor) -> Tensor:
        """Return the predicted codes."""
        drive = affine(self.bias, X, self.input)
        codes = self._shrink(drive)
        for _ in range(self.n_iter):
            codes = self._shrink(affine(drive, codes, self.recurrent))
        return codes

    def _shrink(self, codes: Tensor) -> Tensor:
        if self.raw_threshold is None:
            return codes.relu()
        return soft_threshold(codes, nn.functional.softplus(self.raw_threshold))
