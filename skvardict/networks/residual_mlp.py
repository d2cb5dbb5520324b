"""Perceptrons with skips: the part, and the encoder."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skvardict._utils.parameters import with_parameters
from skvardict._utils.random import private_global_generator
from skvardict.networks.dense import Dense
from skvardict.networks.encoder_parts import LayeredPart


@with_parameters
class ResidualMLP(LayeredPart):
    """The part for :class:`ResidualMLPEncoder`: one layer a skip, and no normalisation.

    Examples
    --------
    >>> from skvardict.networks import ResidualMLP
    >>> ResidualMLP((64, 64))
    ResidualMLP(hidden_layer_sizes=(64, 64))
    """

    def build_encoder(self, n_features: int, n_outputs: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh encoder; layers are listed from the data inwards."""
        with private_global_generator(generator):
            return ResidualMLPEncoder(n_features, n_outputs, self.sizes())


class ResidualMLPEncoder(nn.Module):
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
        self.layers = nn.ModuleList(Dense(n_in, n_out) for n_in, n_out in pairs)
        self.skips = nn.ModuleList(
            nn.Identity() if n_in == n_out else Dense(n_in, n_out, bias=False) for n_in, n_out in pairs
        )
        self.output = Dense(sizes[-1], n_outputs)

    def forward(self, X: Tensor) -> Tensor:
        """Return the parameters of the posterior, side by side."""
        hidden = X
        for layer, skip in zip(self.layers, self.skips):
            hidden = skip(hidden) + layer(hidden).relu()
        return self.output(hidden)
