"""Encoders: rows (..., n, d) to predicted codes (..., n, l), or to parameters of a posterior (..., n, heads x l)."""

import itertools
from collections.abc import Sequence

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


class MLPEncoder(nn.Sequential):
    """Linear layers with ReLU between them; the last one gives all parameters of the posterior side by side.

    Parameters
    ----------
    n_features, n_outputs : int
    hidden_layer_sizes : sequence of int
        Units of the hidden layers, from the data inwards; (512, 1024, 512, 256) in Fallah & Rozell (2022), Table 3.
    """

    def __init__(self, n_features: int, n_outputs: int, hidden_layer_sizes: Sequence[int]):
        sizes = [n_features, *hidden_layer_sizes]
        layers: list[nn.Module] = []
        for n_in, n_out in itertools.pairwise(sizes):
            layers += [nn.Linear(n_in, n_out), nn.ReLU(inplace=True)]
        super().__init__(*layers, nn.Linear(sizes[-1], n_outputs))


class ResidualEncoder(nn.Module):
    """Residual layers ``h + relu(W h + b)``, then a linear one; where the width changes, h is projected.

    Parameters
    ----------
    n_features, n_outputs : int
    hidden_layer_sizes : sequence of int
        Widths of the residual layers, from the data inwards.
    """

    def __init__(self, n_features: int, n_outputs: int, hidden_layer_sizes: Sequence[int]):
        super().__init__()
        sizes = [n_features, *hidden_layer_sizes]
        pairs = list(itertools.pairwise(sizes))
        self.layers = nn.ModuleList(nn.Linear(n_in, n_out) for n_in, n_out in pairs)
        self.skips = nn.ModuleList(
            nn.Identity() if n_in == n_out else nn.Linear(n_in, n_out, bias=False) for n_in, n_out in pairs
        )
        self.output = nn.Linear(sizes[-1], n_outputs)

    def forward(self, X: Tensor) -> Tensor:
        """Return the parameters of the posterior, side by side."""
        hidden = X
        for layer, skip in zip(self.layers, self.skips):
            hidden = skip(hidden) + layer(hidden).relu()
        return self.output(hidden)
