"""Decoders: codes (..., n, l) to reconstructions (..., n, d)."""

import itertools
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from skvardict.functional import affine, power_iteration
from skvardict.networks._init import uniform_fan_in

_POWER_ITERATIONS = 3  # per call: the vectors are kept, and the weights change little between two calls


class LinearDecoder(nn.Module):
    """``D(z) = z W``, with atoms as the rows of ``W``.

    Parameters
    ----------
    n_components, n_features : int
    generator : torch.Generator
        Draws the initial atoms.

    Attributes
    ----------
    components : Parameter of shape (n_components, n_features)
    """

    def __init__(self, n_components: int, n_features: int, generator: torch.Generator):
        super().__init__()
        atoms = uniform_fan_in(n_components, n_features, fan_in=n_components, generator=generator)
        self.components = nn.Parameter(atoms)

    def forward(self, codes: Tensor) -> Tensor:
        """Return ``codes @ components``."""
        return codes @ self.components

    def atoms(self) -> Tensor:
        """Return the atoms, shape (n_components, n_features)."""
        return self.components

    def atom_matrices(self) -> list[Tensor]:
        """Return the matrices whose rows a norm constraint acts on."""
        return [self.components]


class MLPDecoder(nn.Module):
    """``D(z) = relu(... relu(z W_1 + b_1) ...) W_k``: biases inside, none at the output.

    Parameters
    ----------
    n_components, n_features : int
    hidden_layer_sizes : sequence of int
        Units of the hidden layers, from the code outwards; (1024,) in the paper.
    generator : torch.Generator
        Draws the initial weights; biases start at zero.
    """

    def __init__(
        self,
        n_components: int,
        n_features: int,
        hidden_layer_sizes: Sequence[int],
        generator: torch.Generator,
    ):
        super().__init__()
        sizes = [n_components, *hidden_layer_sizes, n_features]
        self.weights = nn.ParameterList(
            uniform_fan_in(m, k, fan_in=m, generator=generator) for m, k in itertools.pairwise(sizes)
        )
        self.biases = nn.ParameterList(torch.zeros(size) for size in hidden_layer_sizes)
        # First vectors of the power iterations: not state of the model, so not saved with it.
        self._directions: list[Tensor] | None = None

    def forward(self, codes: Tensor) -> Tensor:
        """Return the reconstructions."""
        hidden = codes
        for weight, bias in zip(self.weights, self.biases):
            hidden = affine(bias, hidden, weight).relu()
        return hidden @ self.weights[-1]

    def atoms(self) -> Tensor:
        """Return the response to unit codes with biases and ReLUs left out, ``W_1 W_2 ... W_k``."""
        product = self.weights[0]
        for weight in self.weights[1:]:
            product = product @ weight
        return product

    def atom_matrices(self) -> list[Tensor]:
        """Return the matrices whose rows a norm constraint acts on: one row per input unit of each layer."""
        return list(self.weights)

    @torch.no_grad()
    def lipschitz_squared(self) -> Tensor:
        """Return the product of the layers' squared spectral norms, which bounds ``|D(z) - D(z')|^2 / |z - z'|^2``.

        Estimated by power iteration from the vectors of the last call, so that in training it follows the weights.
        """
        if self._directions is None or self._directions[0].device != self.weights[0].device:
            self._directions = [weight.new_ones(weight.shape[0]) for weight in self.weights]
            n_iter = 10 * _POWER_ITERATIONS
        else:
            n_iter = _POWER_ITERATIONS
        product = self.weights[0].new_ones(())
        for index, weight in enumerate(self.weights):
            norm_sq, self._directions[index] = power_iteration(
                _normal_operator(weight), self._directions[index].to(weight.dtype), n_iter
            )
            product = product * norm_sq
        return product


def _normal_operator(weight: Tensor) -> Callable[[Tensor], Tensor]:
    """Return ``v -> W W^T v`` without forming the product of the matrices."""
    return lambda vector: (vector @ weight) @ weight.mT
