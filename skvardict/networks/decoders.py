"""Decoders: codes (..., n, l) to reconstructions (..., n, d).

A decoder may say how its inference problem looks, by ``coding_problem(X, penalty, coupling, hinge, in_training=)``, and
give a closed form of its training loss, by ``reconstruction_loss(codes, X)``. For any other module the functions
:func:`coding_problem` and :func:`reconstruction_loss` of this file fall back on autograd. A subclass that changes
`forward` changes both, too.
"""

import itertools
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from skvardict.energies import (
    Coupling,
    DecoderProblem,
    EnergyProblem,
    LinearProblem,
    Penalty,
    VarianceHinge,
    linear_reconstruction_loss,
    mean_squared_error,
)
from skvardict.functional import affine, gram, power_iteration, spectral_norm_squared
from skvardict.networks._init import uniform_fan_in

_POWER_ITERATIONS = 2  # per call: the vector is kept, and the weights change little between two calls
_TRACKING_MARGIN = 1.1  # on the curvature estimated in training


def coding_problem(
    decoder: nn.Module,
    X: Tensor,
    penalty: Penalty,
    coupling: Coupling | None = None,
    hinge: VarianceHinge | None = None,
    *,
    in_training: bool = False,
) -> EnergyProblem:
    """Return the inference problem of the rows `X`: the decoder's own, or one that differentiates it by autograd.

    Parameters
    ----------
    decoder : Module
    X : Tensor of shape (n, d)
    penalty : Penalty
    coupling : Coupling or None
    hinge : VarianceHinge or None
    in_training : bool
        Whether the problem is one of many with slowly changing weights, for which an estimate of the curvature will do.
    """
    own = getattr(decoder, "coding_problem", None)
    if own is None:
        return DecoderProblem(X, decoder, penalty, coupling, hinge)
    return own(X, penalty, coupling, hinge, in_training=in_training)


def reconstruction_loss(decoder: nn.Module, codes: Tensor, X: Tensor) -> Tensor:
    """Return ``mean |X - D(Z)|^2`` over rows and features, differentiable in the decoder's parameters only."""
    own = getattr(decoder, "reconstruction_loss", None)
    return mean_squared_error(decoder(codes), X) if own is None else own(codes, X)


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

    def coding_problem(self, X: Tensor, *terms: Any, in_training: bool = False) -> LinearProblem:
        """Return the problem that works with the Gram matrix of the atoms; `terms` are penalty, coupling and hinge."""
        return LinearProblem(self.centered(X), self.components.detach(), *terms)

    def reconstruction_loss(self, codes: Tensor, X: Tensor) -> Tensor:
        """Return ``mean |X - D(Z)|^2`` with its closed-form gradient in the atoms."""
        return linear_reconstruction_loss(self.components, codes, self.centered(X))

    def centered(self, X: Tensor) -> Tensor:
        """Return what the atoms have to reconstruct."""
        return X

    def atoms(self) -> Tensor:
        """Return the atoms, shape (n_components, n_features)."""
        return self.components

    def atom_matrices(self) -> list[Tensor]:
        """Return the matrices whose rows a norm constraint acts on."""
        return [self.components]


class AffineDecoder(LinearDecoder):
    """``D(z) = m + z W`` with a constant vector ``m``, the buffer `offset`, for the mean of the data."""

    offset: Tensor

    def __init__(self, n_components: int, n_features: int, generator: torch.Generator):
        super().__init__(n_components, n_features, generator)
        self.register_buffer("offset", torch.zeros(n_features))

    def forward(self, codes: Tensor) -> Tensor:
        """Return ``offset + codes @ components``."""
        return affine(self.offset, codes, self.components)

    def centered(self, X: Tensor) -> Tensor:
        """Return what the atoms have to reconstruct: the rows without the constant."""
        return X - self.offset


class MLPDecoder(nn.Module):
    """``D(z) = relu(relu(z W_1 + b_1) W_2 + b_2) W_3`` and so on: biases inside, none at the output.

    Parameters
    ----------
    n_components, n_features : int
    hidden_layer_sizes : sequence of int
        Units of the hidden layers, from the code outwards; (1024,) in the paper.
    generator : torch.Generator
        Draws the initial weights; biases start at zero.
    """

    direction: Tensor

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
        # Of the power iteration that follows the weights through training; zero before its first call. Saved with
        # the weights, or a resumed run would take other steps.
        self.register_buffer("direction", torch.zeros(n_components))
        self._is_tracking = False

    def forward(self, codes: Tensor) -> Tensor:
        """Return the reconstructions."""
        hidden = codes
        for weight, bias in zip(self.weights, self.biases):
            hidden = affine(bias, hidden, weight).relu()
        return hidden @ self.weights[-1]

    @torch.no_grad()
    def coding_problem(self, X: Tensor, *terms: Any, in_training: bool = False) -> DecoderProblem:
        """Return the problem with a bound of the curvature, in training with estimates of curvature and Hessian.

        The bound would cost as much as the solver for every batch, and is three times the curvature.
        """
        per_feature = 2 / X.shape[-1]
        norm_sq = self.tracked_norm_squared() * _TRACKING_MARGIN if in_training else self.lipschitz_squared()
        problem = DecoderProblem(X, self, *terms, reconstruction_curvature=norm_sq * per_feature)
        if in_training and not problem.couples_rows:
            # The Hessian of the reconstruction where all units are active.
            problem.reconstruction_metric = gram(self.atoms()) * per_feature
        return problem

    def atoms(self) -> Tensor:
        """Return the response to unit codes with biases and ReLUs left out, the product of all matrices."""
        product = self.weights[0]
        for weight in self.weights[1:]:
            product = product @ weight
        return product

    def atom_matrices(self) -> list[Tensor]:
        """Return the matrices whose rows a norm constraint acts on: one row per input unit of each layer."""
        return list(self.weights)

    @torch.no_grad()
    def reconstruction_gradient(self, codes: Tensor, X: Tensor) -> Tensor:
        """Return the gradient of ``1/d |x - D(z)|^2`` in the codes, row by row, without autograd."""
        layers = [codes]
        for weight, bias in zip(self.weights, self.biases):
            layers.append(affine(bias, layers[-1], weight).relu_())
        upstream = (layers[-1] @ self.weights[-1]).sub_(X)
        for hidden, weight in zip(layers[:0:-1], reversed(self.weights)):
            # The sign of what a ReLU gave is its mask, without a detour over booleans.
            upstream = (upstream @ weight.mT).mul_(hidden.sign_())
        return (upstream @ self.weights[0].mT).mul_(2 / X.shape[-1])

    @torch.no_grad()
    def lipschitz_squared(self) -> Tensor:
        """Return the product of the layers' squared spectral norms, which bounds ``|D(z) - D(z')|^2 / |z - z'|^2``."""
        return torch.stack([spectral_norm_squared(weight) for weight in self.weights]).prod(0)

    @torch.no_grad()
    def tracked_norm_squared(self) -> Tensor:
        """Return an estimate of the largest squared norm of a Jacobian of the decoder, for steps during training.

        It is the squared norm of ``W_1 ... W_k``, the Jacobian where all units are active, by a power iteration
        that goes on from call to call. No bound, but a third of :meth:`lipschitz_squared`, which is one: in
        training on MNIST it lay 1 to 4 % above the largest norm over the rows.
        """
        is_known = self.direction.any()
        # A GPU is asked until it has said yes once.
        first_call = not (self._is_tracking and is_known.is_cuda) and not bool(is_known)
        self._is_tracking = True
        start = torch.where(is_known, self.direction, 1.0)
        n_iter = 10 * _POWER_ITERATIONS if first_call else _POWER_ITERATIONS
        norm_sq, direction = power_iteration(self._normal_operator, start, n_iter)
        self.direction.copy_(direction)
        return norm_sq.view(self.weights[0].shape[:-2])

    def _normal_operator(self, codes: Tensor) -> Tensor:
        """Return ``v W_1 ... W_k W_k^T ... W_1^T`` without forming a product of matrices."""
        for weight in self.weights:
            codes = codes @ weight
        for weight in reversed(self.weights):
            codes = codes @ weight.mT
        return codes
