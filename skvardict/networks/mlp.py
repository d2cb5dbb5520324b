"""Multi-layer perceptrons: the part that builds a decoder or an encoder with hidden layers, and the encoder."""

import itertools
from collections.abc import Sequence

import torch
from torch import nn

from skvardict._utils.parameters import parameter, with_parameters
from skvardict._utils.random import private_global_generator
from skvardict.networks.decoders import MLPDecoder
from skvardict.networks.dense import Dense
from skvardict.networks.encoder_parts import LayeredPart


@with_parameters
class MLP(LayeredPart):
    """Layers of ReLU units: as a decoder :class:`MLPDecoder`, as an encoder :class:`MLPEncoder`.

    Examples
    --------
    >>> from skvardict.networks import MLP
    >>> MLP((256, 128))
    MLP(hidden_layer_sizes=(256, 128))
    """

    hidden_layer_sizes: Sequence[int] | int = parameter(default=(1024,), kw_only=False)

    def build_decoder(self, n_features: int, n_components: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh decoder; hidden layers are listed from the code outwards."""
        return MLPDecoder(n_components, n_features, self.sizes(), generator)

    def build_encoder(self, n_features: int, n_outputs: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh encoder; hidden layers are listed from the data inwards."""
        with private_global_generator(generator):
            return MLPEncoder(n_features, n_outputs, self.sizes())


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
            layers += [Dense(n_in, n_out), nn.ReLU(inplace=True)]
        super().__init__(*layers, Dense(sizes[-1], n_outputs))
