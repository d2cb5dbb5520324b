"""Residual networks: the part, and the encoder of blocks."""

import itertools
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from skvardict._utils import ranks
from skvardict._utils.parameters import with_parameters
from skvardict._utils.random import private_global_generator
from skvardict.networks.encoder_parts import LayeredPart


@with_parameters
class ResNet(LayeredPart):
    """The part for :class:`ResNetEncoder`: a block of He et al. for every entry of `hidden_layer_sizes`.

    Examples
    --------
    >>> from skvardict.networks import ResNet
    >>> ResNet((64, 64))
    ResNet(hidden_layer_sizes=(64, 64))
    """

    def build_encoder(self, n_features: int, n_outputs: int, generator: torch.Generator) -> nn.Module:
        """Return a fresh encoder; blocks are listed from the data inwards."""
        with private_global_generator(generator):
            return ResNetEncoder(n_features, n_outputs, self.sizes())


class ResNetEncoder(nn.Sequential):
    """Residual blocks, then a linear layer.

    Parameters
    ----------
    n_features, n_outputs : int
    hidden_layer_sizes : sequence of int
        Widths of the blocks, from the data inwards.
    """

    def __init__(self, n_features: int, n_outputs: int, hidden_layer_sizes: Sequence[int]):
        sizes = [n_features, *hidden_layer_sizes]
        blocks = (ResidualBlock(n_in, n_out) for n_in, n_out in itertools.pairwise(sizes))
        super().__init__(*blocks, nn.Linear(sizes[-1], n_outputs))


class ResidualBlock(nn.Module):
    """``relu(N2 W2 relu(N1 W1 h) + P h)``: two dense layers, each normalised, and a skip around both.

    N are batch normalisations; P is the identity where the widths are equal, else a normalised projection (option B).
    Statistics are those of the batch in training, of a single row the running averages, as in `transform`.

    Parameters
    ----------
    n_in, n_out : int

    References
    ----------
    He, Zhang, Ren & Sun, Deep residual learning for image recognition, CVPR 2016, eq. 1, 2 and figure 2.
    """

    def __init__(self, n_in: int, n_out: int):
        super().__init__()
        self.first = _normalized_layer(n_in, n_out)
        self.second = _normalized_layer(n_out, n_out)
        self.shortcut = nn.Identity() if n_in == n_out else _normalized_layer(n_in, n_out)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the features of the next block."""
        return (self.second(self.first(hidden).relu()) + self.shortcut(hidden)).relu()


def _normalized_layer(n_in: int, n_out: int) -> nn.Module:
    return nn.Sequential(nn.Linear(n_in, n_out, bias=False), _BatchNorm(n_out))  # the norm has the bias


_MOMENTUM, _EPS = 0.1, 1e-5  # torch's: share of a new batch in the averages, and what a variance is enlarged by


class _BatchNorm(nn.Module):
    """Batch normalisation that takes a batch of one row, which has no variance, and keeps no integers."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n_units: int):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(n_units)), nn.Parameter(torch.zeros(n_units))
        self.register_buffer("running_mean", torch.zeros(n_units))
        self.register_buffer("running_var", torch.ones(n_units))

    def forward(self, X: Tensor) -> Tensor:
        if self.training and ranks.current() is not None and ranks.n_rows(len(X)) > 1:
            return self._by_all_rows(X)
        uses_batch = self.training and len(X) > 1
        return nn.functional.batch_norm(
            X, self.running_mean, self.running_var, self.weight, self.bias, training=uses_batch
        )

    def _by_all_rows(self, X: Tensor) -> Tensor:
        """Return the rows `X` of this process, normalised by the statistics of a batch that several processes have."""
        n_rows = ranks.n_rows(len(X))
        mean = ranks.all_sum(X.sum(0)) / n_rows
        centred = X - mean
        var = ranks.all_sum(centred.square().sum(0)) / n_rows
        with torch.no_grad():
            self.running_mean.lerp_(mean, _MOMENTUM)
            self.running_var.lerp_(var * (n_rows / (n_rows - 1)), _MOMENTUM)
        return torch.addcmul(self.bias, centred * (var + _EPS).rsqrt(), self.weight)
