"""The reconstruction error, and its closed form in the atoms of a linear dictionary."""

import torch
from torch import Tensor, nn

from skvardict.functional import affine, inner_product


def reconstruction(X: Tensor, X_reconstructed: Tensor) -> Tensor:
    """Return ``1/d |x - D(z)|^2`` per row: the mean over features, without 1/2."""
    return (X_reconstructed - X).square().mean(-1)


def expected_reconstruction(X: Tensor, X_of_mean: Tensor, variance: Tensor, components: Tensor) -> Tensor:
    """Return the mean of ``1/d |x - D(z)|^2`` over codes z with independent entries, per row, for a linear decoder.

    It is ``1/d |x - D(E z)|^2 + 1/d sum_j Var(z_j) |w_j|^2``, with atoms w_j.

    Parameters
    ----------
    X : Tensor of shape (..., n, d)
    X_of_mean : Tensor of shape (..., n, d)
        ``D(E z)``.
    variance : Tensor of shape (..., n, l)
    components : Tensor of shape (..., l, d)
    """
    spread = variance @ components.square().mean(-1, keepdim=True)
    return reconstruction(X, X_of_mean) + spread.squeeze(-1)


def observed_reconstruction(X: Tensor, X_reconstructed: Tensor) -> Tensor:
    """Return the mean of ``(x_f - D(z)_f)^2`` over the observed entries of each row; 0 where there are none.

    Entries of `X` that are NaN are missing.
    """
    observed = ~X.isnan()
    error = torch.where(observed, X_reconstructed - X, 0).square().sum(-1)
    return error / observed.sum(-1, dtype=error.dtype).clamp_min(1)


def mean_squared_error(values: Tensor, target: Tensor) -> Tensor:
    """Return the mean of ``(values - target)^2`` over rows and columns, shape (...)."""
    if values.dim() == 2:
        return nn.functional.mse_loss(values, target)
    return _MeanSquare.apply(values - target)


class _MeanSquare(torch.autograd.Function):
    @staticmethod
    def forward(ctx, values: Tensor) -> Tensor:
        ctx.save_for_backward(values)
        return torch.linalg.vector_norm(values, dim=(-2, -1)).square() / values[0].numel()

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        (values,) = ctx.saved_tensors
        return values * (grad_output[..., None, None] * (2 / values[0].numel()))


class _LinearReconstruction(torch.autograd.Function):
    @staticmethod
    def forward(ctx, components: Tensor, codes: Tensor, X: Tensor) -> Tensor:
        n_values = max(X.shape[-2], 1) * X.shape[-1]  # of a batch whose rows are all in other processes: none
        scale = 2 / n_values
        # Z^T Z is l x l: cheaper than reconstructing n x d and coming back.
        cross = codes.mT @ X
        gradient = affine(cross, codes.mT @ codes, components, offset_weight=-scale, weight=scale)
        ctx.save_for_backward(gradient)
        # The expanded square is |X|^2 - Z^T X W + (Z^T Z W - Z^T X) W.
        constant = inner_product(X, X) - inner_product(cross, components)
        return (constant / n_values + inner_product(gradient, components) / 2).clamp_min(0)

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        (gradient,) = ctx.saved_tensors
        return grad_output[..., None, None] * gradient, None, None


def linear_reconstruction_loss(components: Tensor, codes: Tensor, X: Tensor) -> Tensor:
    """Return ``mean |X - Z W|^2`` over rows and features, differentiable in the atoms W only.

    The gradient is ``2 / (n d) (Z^T Z W - Z^T X)``. The value is the expanded square: its rounding error is
    relative to ``mean |X|^2``, not to itself, which matters for reconstructions beyond about 60 dB only.

    Parameters
    ----------
    components : Tensor of shape (..., l, d)
    codes : Tensor of shape (..., n, l)
        Constant.
    X : Tensor of shape (..., n, d)
    """
    return _LinearReconstruction.apply(components, codes, X)
