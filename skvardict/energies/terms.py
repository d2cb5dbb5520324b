"""The terms of the energy of variance-regularised dictionary learning, each with its gradient.

Notation: data ``X`` (..., n, d), codes ``z`` (..., n, l), predictions ``e`` of the encoder (..., n, l),
atoms ``W`` (..., l, d). In the units of Table 3 of Evtimova & LeCun (2022), used throughout:

    E = sum_i 1/d |x_i - D(z_i)|^2 + beta sum_j [(T - s_j)_+]^2 + gamma sum_i 1/l |z_i - e_i|^2 + alpha sum_i |z_i|_1

Terms that belong to rows are returned per row, shape (..., n); the hinge belongs to the batch, shape (...).
"""

from torch import Tensor

from skvardict.functional import batch_moments, hinge_pull, hinge_scale, hinge_value


def reconstruction(X: Tensor, X_reconstructed: Tensor) -> Tensor:
    """Return ``1/d |x - D(z)|^2`` per row: the mean over features, without 1/2."""
    return (X_reconstructed - X).square().mean(-1)


def linear_reconstruction_gradient(X: Tensor, codes: Tensor, components: Tensor) -> Tensor:
    """Return the gradient ``2/d (z W - x) W^T`` of the reconstruction with a linear decoder."""
    return (2 / X.shape[-1]) * (codes @ components - X) @ components.mT


def l1_norm(codes: Tensor) -> Tensor:
    """Return ``|z|_1`` per row. Its subgradient is ``sign(z)``; solvers use its proximal operator."""
    return codes.abs().sum(-1)


def coupling(codes: Tensor, prediction: Tensor) -> Tensor:
    """Return ``1/l |z - e|^2`` per row: the mean over components."""
    return (codes - prediction).square().mean(-1)


def coupling_gradient(codes: Tensor, prediction: Tensor) -> Tensor:
    """Return the gradient ``2/l (z - e)``."""
    return (2 / codes.shape[-1]) * (codes - prediction)


def variance_hinge(codes: Tensor, std_threshold: float) -> Tensor:
    """Return ``sum_j [(T - s_j)_+]^2`` per batch, with s_j the unbiased standard deviation of component j."""
    return hinge_value(batch_moments(codes, codes.mean(-2, keepdim=True)), std_threshold)


def variance_hinge_gradient(codes: Tensor, std_threshold: float) -> Tensor:
    """Return the gradient of :func:`variance_hinge`; zero for constant components, which it cannot revive."""
    reference = codes.mean(-2, keepdim=True)
    scale = hinge_scale(codes.shape[-2], std_threshold, 1.0, codes)
    pull, mean = hinge_pull(batch_moments(codes, reference), reference, scale)
    return -pull * (codes - mean)
