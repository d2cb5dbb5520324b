"""Steps by a quadratic model with one matrix for all rows: against closed forms, plain FISTA, and autograd."""

import pytest
import torch

from skvardict.energies import L1, Coupling, DecoderProblem, LinearProblem, VarianceHinge
from skvardict.functional import gram
from skvardict.models import DictionaryModel
from skvardict.networks import MLPDecoder
from skvardict.solvers import FISTA
from skvardict.solvers._rows import MaskedRows
from skvardict.solvers.step_rules import MetricStep


def _rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, W = _rand(40, 16), 0.3 * _rand(24, 16, seed=1)
E = _rand(40, 24, seed=2).clamp_min(0)
HESSIAN = gram(W) * (2 / 16)


def _linear(penalty, gamma=0.0, scale=1.0):
    coupling = Coupling(gamma, E)
    return DecoderProblem(X, lambda z: z @ W, penalty, coupling, reconstruction_metric=scale * HESSIAN)


def test_a_step_without_an_l1_term_is_a_newton_step():
    problem = _linear(L1(0.0, positive=False), 20.0)
    matrix = HESSIAN + 2 * 20 / 24 * torch.eye(24, dtype=torch.float64)
    expected = E - problem.gradient(E) @ torch.linalg.inv(matrix)
    codes, _ = MetricStep(E, problem.metric()).advance(problem, E, None)
    torch.testing.assert_close(codes, expected, rtol=0, atol=1e-6)
    assert problem.gradient(codes).abs().max() < 1e-6


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize("scale", [0.2, 1.0, 3.0])
def test_the_minimum_is_that_of_plain_fista_also_by_a_matrix_that_is_too_small(positive, gamma, scale):
    penalty = L1(0.02, positive)
    reference_problem = LinearProblem(X, W, penalty, Coupling(gamma, E))
    reference = FISTA(max_iter=20_000, tol=1e-12, criterion="gap", restart=True).solve(reference_problem, E).energy
    result = FISTA(max_iter=2000, tol=1e-7).solve(_linear(penalty, gamma, scale), E)
    assert result.converged.all()
    torch.testing.assert_close(result.energy, reference, rtol=1e-5, atol=1e-8)


def test_a_minimum_stays_where_it_is():
    problem = LinearProblem(X, W, L1(0.02), Coupling(1.0, E))
    minimum = FISTA(max_iter=20_000, tol=1e-14, restart=True).solve(problem, E).codes
    result = FISTA(max_iter=3, tol=0.0).solve(_linear(L1(0.02), 1.0, 0.7), minimum)
    torch.testing.assert_close(result.codes, minimum, rtol=0, atol=1e-9)


def test_rows_double_their_factor_only_where_steps_grow():
    problem = _linear(L1(0.0, positive=False), 20.0)
    exact, small = MetricStep(E, problem.metric()), MetricStep(E, 0.1 * problem.metric())
    for rule in (exact, small):
        codes = E
        for _ in range(2):
            codes, _ = rule.advance(problem, codes, None)
    assert (exact.factor == 1).all()
    assert (small.factor == 2).all()


PENALTY = L1(0.02)


def _mlp_problem(penalty=PENALTY, gamma=0.0, beta=0.0, *, with_metric=False, rows=slice(None)):
    decoder = MLPDecoder(24, 16, (20, 18), torch.Generator().manual_seed(0)).double()
    return DecoderProblem(
        X[rows],
        decoder,
        penalty,
        Coupling(gamma, E[rows]),
        VarianceHinge(beta),
        reconstruction_curvature=decoder.lipschitz_squared() * (2 / 16),
        reconstruction_metric=gram(decoder.atoms().detach()) * (2 / 16) if with_metric else None,
    )


@pytest.mark.parametrize(("positive", "gamma"), [(True, 1.0), (True, 0.0), (False, 0.0)])
def test_hidden_layers_end_at_the_energy_of_plain_fista_after_fewer_iterations(positive, gamma):
    penalty = L1(0.02, positive)
    reference = FISTA(max_iter=3000).solve(_mlp_problem(penalty, gamma), E)
    result = FISTA().solve(_mlp_problem(penalty, gamma, with_metric=True), E)
    assert result.converged.all()
    # ReLUs make the energy non-convex: equal basins on average, not equal codes.
    assert float(result.energy.mean()) == pytest.approx(float(reference.energy.mean()), rel=0.01)
    assert result.n_iter.double().mean() < reference.n_iter.double().mean() / 10


@pytest.mark.parametrize(("positive", "gamma"), [(True, 1.0), (False, 0.0)])
def test_rows_that_leave_equal_rows_that_are_masked(positive, gamma, monkeypatch):
    # Convex, or rounding would decide on which side of a kink a row ends; a small matrix, so that factors differ.
    problem, solver = _linear(L1(0.02, positive), gamma, 0.3), FISTA(max_iter=500)
    dropped = solver.solve(problem, E)
    monkeypatch.setattr("skvardict.solvers.fista.follow_rows", MaskedRows)
    masked = solver.solve(problem, E)
    assert dropped.n_iter.max() > dropped.n_iter.min()
    torch.testing.assert_close(dropped.codes, masked.codes, rtol=0, atol=1e-8)
    torch.testing.assert_close(dropped.n_iter, masked.n_iter)
    torch.testing.assert_close(dropped.converged, masked.converged)


def test_rows_do_not_depend_on_their_neighbours():
    whole = FISTA().solve(_mlp_problem(gamma=1.0, with_metric=True), E).codes
    for row in range(3):
        rows = slice(row, row + 1)
        alone = FISTA().solve(_mlp_problem(gamma=1.0, with_metric=True, rows=rows), E[rows]).codes
        torch.testing.assert_close(alone, whole[rows], rtol=0, atol=1e-8)


def test_rows_coupled_by_the_hinge_step_as_without_a_matrix():
    plain, other = (
        FISTA().solve(_mlp_problem(gamma=5.0, beta=10.0, with_metric=with_metric), E) for with_metric in (False, True)
    )
    torch.testing.assert_close(other.codes, plain.codes, rtol=0, atol=0)


def _model(beta):
    decoder = MLPDecoder(24, 16, (20, 18), torch.Generator().manual_seed(0)).double()
    return DictionaryModel(decoder, None, 24, FISTA(), L1(0.02), VarianceHinge(beta), gamma=1.0)


def test_the_matrix_of_training_is_the_hessian_where_all_units_are_active():
    model = _model(beta=0.0)
    with torch.no_grad():
        for bias, size in zip(model.decoder.biases, (1e2, 1e4)):
            bias.fill_(size)  # units are active whatever the code
    metric = model.problem(X, E, in_training=True).metric()
    hessian = torch.autograd.functional.hessian(
        lambda z: (model.decoder(z) - X[0]).square().mean() + (z - E[0]).square().mean(), E[0]
    )
    torch.testing.assert_close(metric, hessian, rtol=1e-7, atol=1e-10)  # reconstructions are large


def test_only_training_without_the_hinge_has_a_matrix():
    assert _model(beta=10.0).problem(X, E, in_training=True).metric() is None
    assert _model(beta=0.0).problem(X, E, in_training=False).metric() is None
