"""Closed-form gradients against autograd, in float64, and the problems that solvers see."""

import pytest
import torch
from torch.func import grad

from skvardict.energies import (
    DecoderProblem,
    LinearProblem,
    Penalties,
    coupling,
    coupling_gradient,
    from_sklearn_alpha,
    l1_norm,
    linear_reconstruction_gradient,
    linear_reconstruction_loss,
    reconstruction,
    to_sklearn_alpha,
    variance_hinge,
    variance_hinge_gradient,
)

N, L, D = 9, 6, 5


def _rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, W, Z, E = _rand(N, D), _rand(L, D, seed=1), 0.3 * _rand(N, L, seed=2), _rand(N, L, seed=3)
TIGHT = {"rtol": 1e-9, "atol": 1e-12}


def test_reconstruction_gradient_equals_autograd():
    expected = grad(lambda z: reconstruction(X, z @ W).sum())(Z)
    torch.testing.assert_close(linear_reconstruction_gradient(X, Z, W), expected, **TIGHT)


def test_coupling_gradient_equals_autograd():
    torch.testing.assert_close(coupling_gradient(Z, E), grad(lambda z: coupling(z, E).sum())(Z), **TIGHT)


def test_hinge_equals_its_definition_and_its_gradient_autograd():
    def definition(z):
        return (0.5 - z.std(0)).clamp_min(0).square().sum()

    torch.testing.assert_close(variance_hinge(Z, 0.5), definition(Z), **TIGHT)
    torch.testing.assert_close(variance_hinge_gradient(Z, 0.5), grad(definition)(Z), **TIGHT)
    assert variance_hinge(Z, 0.5) > 0


def test_the_hinge_does_not_move_constant_components():
    codes = Z.clone()
    codes[:, 2] = 0.7
    assert (variance_hinge_gradient(codes, 0.5)[:, 2] == 0).all()
    assert torch.isfinite(variance_hinge_gradient(codes, 0.5)).all()


def test_terms_take_leading_axes():
    stacked = torch.stack([Z, E])
    for function in (lambda z: variance_hinge(z, 0.5), lambda z: variance_hinge_gradient(z, 0.5), l1_norm):
        torch.testing.assert_close(function(stacked), torch.stack([function(Z), function(E)]))


def test_training_loss_and_gradient_equal_autograd():
    atoms = W.clone().requires_grad_()
    loss = linear_reconstruction_loss(atoms, Z, X)
    loss.backward()
    torch.testing.assert_close(loss.detach(), ((X - Z @ W) ** 2).mean(), **TIGHT)
    torch.testing.assert_close(atoms.grad, grad(lambda w: ((X - Z @ w) ** 2).mean())(W), **TIGHT)


def test_alpha_converts_to_scikit_learn_and_back():
    assert to_sklearn_alpha(0.02, 784) == pytest.approx(7.84)
    assert from_sklearn_alpha(to_sklearn_alpha(0.3, 17), 17) == pytest.approx(0.3)


def _energy(z, penalties):
    value = reconstruction(X, z @ W).sum()
    value = value + penalties.beta * (penalties.std_threshold - z.std(0)).clamp_min(0).square().sum()
    return value + penalties.gamma * coupling(z, E).sum()


@pytest.mark.parametrize("beta", [0.0, 10.0])
@pytest.mark.parametrize("gamma", [0.0, 5.0])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", ["linear", "decoder"])
def test_a_forward_step_follows_the_gradient_of_the_energy(beta, gamma, positive, kind):
    penalties = Penalties(0.1, positive, beta, 0.5, gamma)
    target = E if gamma else None
    if kind == "linear":
        problem = LinearProblem(X, W, penalties, target)
    else:
        problem = DecoderProblem(X, lambda z: z @ W, penalties, target)
    problem.start_at(Z)
    gradient = grad(lambda z: _energy(z, penalties))(Z) + (0.1 if positive else 0.0)
    torch.testing.assert_close(problem.forward_step(Z, 0.3), Z - 0.3 * gradient, **TIGHT)
    torch.testing.assert_close(problem.smooth_value(Z).sum(), _energy(Z, penalties), **TIGHT)


def test_curvature_bounds_the_hessian():
    problem = LinearProblem(X, W, Penalties(0.1, gamma=5.0), E)
    top = torch.linalg.eigvalsh(problem.hessian)[-1]
    assert top <= problem.curvature() <= top * L ** (1 / 32)
    coupled = LinearProblem(X, W, Penalties(0.1, beta=10.0, gamma=5.0), E)
    torch.testing.assert_close(coupled.curvature() - problem.curvature(), torch.tensor(20.0 / (N - 1)).double())


@pytest.mark.parametrize("make", [LinearProblem, lambda *a: DecoderProblem(a[0], lambda z: z @ W, a[2], a[3])])
def test_rows_that_left_still_count_in_the_hinge(make):
    problem = make(X, W, Penalties(0.1, beta=10.0, gamma=5.0), E)
    problem.start_at(Z)
    expected = problem.forward_step(Z, 0.3)
    keep, gone = torch.tensor([0, 2, 5]), torch.tensor([1, 3, 4, 6, 7, 8])
    kept = problem.keep_rows(keep, Z[gone])
    torch.testing.assert_close(kept.forward_step(Z[keep], 0.3), expected[keep], **TIGHT)


def test_coupling_without_a_prediction_is_refused():
    with pytest.raises(ValueError, match="no prediction to couple"):
        LinearProblem(X, W, Penalties(0.1, gamma=1.0))
