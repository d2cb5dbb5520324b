"""Closed-form gradients against autograd, in float64, and the problems that solvers see."""

import pytest
import torch
from torch.func import grad

from skvardict.energies import (
    L1,
    Coupling,
    DecoderProblem,
    ElasticNet,
    GroupLasso,
    LinearProblem,
    VarianceHinge,
    coupling,
    from_sklearn_alpha,
    linear_reconstruction_loss,
    reconstruction,
    to_sklearn_alpha,
)

N, L, D = 9, 6, 5


def _rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, W, Z, E = _rand(N, D), _rand(L, D, seed=1), 0.3 * _rand(N, L, seed=2), _rand(N, L, seed=3)
TIGHT = {"rtol": 1e-9, "atol": 1e-12}


def _definition(z):
    return 10 * (0.5 - z.std(0)).clamp_min(0).square().sum()


HINGE, COUPLING = VarianceHinge(10.0, 0.5), Coupling(5.0, E)


def test_coupling_equals_its_definition_and_its_gradient_autograd():
    torch.testing.assert_close(COUPLING.value(Z), 5 * (Z - E).square().mean(1), **TIGHT)
    torch.testing.assert_close(COUPLING.gradient(Z), grad(lambda z: COUPLING.value(z).sum())(Z), **TIGHT)


def test_hinge_equals_its_definition_and_its_gradient_autograd():
    torch.testing.assert_close(HINGE.value(Z), _definition(Z), **TIGHT)
    torch.testing.assert_close(HINGE.measure_of_std(Z.std(0, keepdim=True)), _definition(Z) / 10, **TIGHT)
    torch.testing.assert_close(HINGE.gradient(Z), grad(_definition)(Z), **TIGHT)
    assert HINGE.value(Z) > 0


def _top_curvature(function, codes):
    hessian = torch.autograd.functional.hessian(function, codes).reshape(codes.numel(), -1)
    return torch.linalg.eigvalsh(hessian)[-1]


def test_curvatures_of_the_smooth_terms_bound_their_hessians():
    top = _top_curvature(lambda z: COUPLING.value(z).sum(), Z)
    torch.testing.assert_close(top, torch.tensor(COUPLING.curvature).double())
    tops = torch.stack([_top_curvature(_definition, scale * Z) for scale in (1e-3, 0.3, 1.0, 1.6)])
    assert (tops <= HINGE.curvature(N) * (1 + 1e-9)).all()
    scattered = _rand(N, L, seed=5)
    orthogonal = torch.linalg.qr(scattered - scattered.mean(0)).Q * (0.5 * (N - 1) ** 0.5 * (1 - 1e-7))  # std near T
    assert _top_curvature(_definition, orthogonal) > 0.99 * HINGE.curvature(N)


def test_the_hinge_does_not_move_constant_components():
    codes = Z.clone()
    codes[:, 2] = 0.7
    assert (HINGE.gradient(codes)[:, 2] == 0).all()
    assert torch.isfinite(HINGE.gradient(codes)).all()


def test_terms_take_leading_axes():
    stacked = torch.stack([Z, E])
    for function in (HINGE.value, HINGE.gradient, L1(0.1).value):
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


def _problem(kind, penalty=L1(0.1), gamma=0.0, beta=0.0):  # noqa: B008  immutable
    terms = penalty, Coupling(gamma, E), VarianceHinge(beta, 0.5)
    if kind == "linear":
        return LinearProblem(X, W, *terms)
    return DecoderProblem(X, lambda z: z @ W, *terms)


def _smooth_energy(z, gamma, beta):
    return reconstruction(X, z @ W).sum() + beta / 10 * _definition(z) + gamma * coupling(z, E).sum()


@pytest.mark.parametrize("beta", [0.0, 10.0])
@pytest.mark.parametrize("gamma", [0.0, 5.0])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", ["linear", "decoder"])
def test_problems_follow_the_gradient_of_the_energy(beta, gamma, positive, kind):
    problem = _problem(kind, L1(0.1, positive), gamma, beta).start_at(Z)
    gradient = grad(lambda z: _smooth_energy(z, gamma, beta))(Z)
    torch.testing.assert_close(problem.gradient(Z), gradient, **TIGHT)
    torch.testing.assert_close(problem.smooth_value(Z).sum(), _smooth_energy(Z, gamma, beta), **TIGHT)
    torch.testing.assert_close(problem.energy(Z), problem.smooth_value(Z) + 0.1 * Z.abs().sum(1), **TIGHT)


@pytest.mark.parametrize("beta", [0.0, 10.0])
@pytest.mark.parametrize("penalty", [L1(0.1), L1(0.1, False), GroupLasso(0.1, 3), ElasticNet(0.1, 0.5, False)], ids=str)
@pytest.mark.parametrize("kind", ["linear", "decoder"])
def test_the_fused_step_is_prox_after_gradient(penalty, beta, kind):
    problem = _problem(kind, penalty, 5.0, beta).start_at(Z)
    expected = problem.prox(Z - 0.3 * problem.gradient(Z), 0.3)
    torch.testing.assert_close(problem.with_step(0.3).proximal_step(Z), expected, **TIGHT)


def test_curvature_bounds_the_hessian():
    problem = _problem("linear", gamma=5.0)
    top = torch.linalg.eigvalsh(problem.hessian)[-1]
    assert top <= problem.curvature() <= top * L ** (1 / 32)
    coupled = _problem("linear", gamma=5.0, beta=10.0)
    torch.testing.assert_close(coupled.curvature() - problem.curvature(), torch.tensor(20.0 / (N - 1)).double())


@pytest.mark.parametrize("kind", ["linear", "decoder"])
def test_rows_that_left_still_count_in_the_hinge(kind):
    problem = _problem(kind, gamma=5.0, beta=10.0).start_at(Z).with_step(0.3)
    keep, gone = torch.tensor([0, 2, 5]), torch.tensor([1, 3, 4, 6, 7, 8])
    kept = problem.keep_rows(keep, Z[gone])
    torch.testing.assert_close(kept.proximal_step(Z[keep]), problem.proximal_step(Z)[keep], **TIGHT)
    torch.testing.assert_close(kept.gradient(Z[keep]), problem.gradient(Z)[keep], **TIGHT)


@pytest.mark.parametrize("kind", ["linear", "decoder"])
def test_starting_and_stepping_leave_a_problem_as_it_was(kind):
    problem = _problem(kind, gamma=5.0, beta=10.0)
    before = dict(vars(problem))
    problem.start_at(Z).with_step(0.3).keep_rows(torch.tensor([0]), Z[1:])
    assert all(vars(problem)[name] is value for name, value in before.items())
