"""Every penalty of the list against oracles that do not share its formulas: minimisation, bounds, other solvers."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize
from sklearn.linear_model import ElasticNet as SklearnElasticNet

from skvardict.energies import L1, PENALTIES, Coupling, ElasticNet, GroupLasso, LinearProblem
from skvardict.solvers import FISTA, ISTA

N, L, D = 12, 6, 5
# The settings of every penalty beside alpha and positive, each penalty with at least one line.
SETTINGS = {L1: [{}], ElasticNet: [{"l1_ratio": 0.3}, {"l1_ratio": 1.0}], GroupLasso: [{"group_size": 3}]}
CASES = [
    pytest.param(penalty(0.1, **setting, positive=positive), id=f"{penalty.__name__}-{setting}-{positive}")
    for penalty in PENALTIES
    for setting in SETTINGS[penalty]
    for positive in (True, False)
]
every_penalty = pytest.mark.parametrize("penalty", CASES)


def _rand(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


X, W, POINTS = _rand(N, D), _rand(L, D, seed=1), _rand(N, L, seed=2)


def _feasible(penalty, codes):
    return codes.abs() if penalty.positive else codes


@every_penalty
def test_prox_minimises_its_objective(penalty):
    """Against a bounded quasi-Newton method on the positive and negative parts of codes."""
    step = 2.0
    for point, found in zip(POINTS, penalty.prox(POINTS, step)):

        def objective(parts, point=point):
            z = torch.from_numpy(parts[:L] - parts[L:])
            return float(step * penalty.value(z[None])[0] + (z - point).square().sum() / 2)

        bounds = [(0, None)] * L + [(0, 0 if penalty.positive else None)] * L
        best = minimize(objective, np.full(2 * L, 0.1) * [b[1] is None for b in bounds], bounds=bounds, tol=1e-12)
        parts = np.concatenate([found.clamp_min(0), (-found).clamp_min(0)])
        assert objective(parts) <= best.fun + 1e-9
        assert not penalty.positive or (found >= 0).all()


@every_penalty
def test_no_feasible_neighbour_of_a_prox_is_better(penalty):
    step = 3 * _rand(N, 1, seed=4).abs()
    found = penalty.prox(POINTS, step)

    def objective(z):
        return step.squeeze(1) * penalty.value(z) + (z - POINTS).square().sum(1) / 2

    for seed in range(100):
        other = found + 10.0 ** (-seed % 7) * _rand(N, L, seed=seed)
        other = other.clamp_min(0) if penalty.positive else other
        assert (objective(found) <= objective(other) + 1e-12).all()


@every_penalty
def test_prox_is_slope_then_prox_of_rest_(penalty):
    step = _rand(N, 1, seed=4).abs()
    moved = penalty.prox_of_rest_(POINTS - step * penalty.slope, step)
    torch.testing.assert_close(moved, penalty.prox(POINTS, step))


@every_penalty
def test_without_its_curvature_the_value_grows_in_proportion(penalty):
    codes = _feasible(penalty, POINTS)

    def gauge(z):
        return penalty.value(z) - penalty.curvature / 2 * z.square().sum(-1)

    torch.testing.assert_close(gauge(3 * codes), 3 * gauge(codes))
    torch.testing.assert_close(penalty.total(codes), penalty.measure(codes).sum())
    torch.testing.assert_close(penalty.value(codes), penalty.alpha * penalty.measure(codes))


@every_penalty
def test_dual_norm_bounds_what_a_gradient_gains_and_is_where_the_prox_becomes_zero(penalty):
    norm = penalty.dual_norm(-POINTS)
    codes = _feasible(penalty, _rand(10_000, L, seed=3))
    gauge = penalty.value(codes) - penalty.curvature / 2 * codes.square().sum(-1)
    assert (norm[:, None] * gauge / penalty.alpha + 1e-12 >= POINTS @ codes.T).all()
    step = (norm / penalty.alpha)[:, None]
    assert not penalty.prox(POINTS, step * (1 + 1e-9)).any()
    assert penalty.prox(POINTS, step * (1 - 1e-6)).any(dim=1).all()


@every_penalty
def test_penalties_take_leading_axes(penalty):
    stacked = torch.stack([POINTS, 2 * POINTS])
    steps = torch.tensor([0.5, 1.0], dtype=torch.float64)[:, None, None]
    for found, function in (
        (penalty.prox(stacked, steps), lambda z, step: penalty.prox(z, step)),
        (penalty.value(stacked), lambda z, step: penalty.value(z)),
        (penalty.dual_norm(stacked), lambda z, step: penalty.dual_norm(z)),
    ):
        torch.testing.assert_close(found, torch.stack([function(POINTS, 0.5), function(2 * POINTS, 1.0)]))


@every_penalty
@pytest.mark.parametrize("gamma", [0.0, 1.0])
def test_the_gap_bounds_the_distance_to_the_minimum_and_closes_there(penalty, gamma):
    problem = LinearProblem(X, W, penalty, Coupling(gamma, POINTS))
    result = FISTA(max_iter=100_000, tol=1e-10, criterion="gap", restart=True).solve(problem, POINTS)
    assert result.converged.all()
    for seed in range(20):
        codes = _feasible(penalty, _rand(N, L, seed=seed))
        gap, objective = problem.relative_gap(codes)
        assert (gap >= problem.energy(codes) - result.energy - 1e-9).all()
        torch.testing.assert_close(objective, problem.energy(codes))
    other = ISTA(max_iter=100_000, tol=1e-10, criterion="gap").solve(problem, torch.zeros_like(POINTS))
    torch.testing.assert_close(other.energy, result.energy, rtol=1e-9, atol=1e-12)


@every_penalty
def test_first_order_conditions_hold_at_the_minimum(penalty):
    problem = LinearProblem(X, W, penalty)
    codes = FISTA(max_iter=100_000, tol=1e-12, criterion="gap", restart=True).solve(problem, POINTS).codes
    torch.testing.assert_close(penalty.prox(codes - problem.gradient(codes), 1.0), codes, rtol=0, atol=1e-5)


@pytest.mark.parametrize("positive", [True, False])
def test_the_elastic_net_equals_scikit_learns(positive):
    alpha, ratio = 0.1, 0.4
    problem = LinearProblem(X, W, ElasticNet(alpha, ratio, positive))
    found = FISTA(max_iter=100_000, tol=1e-12, criterion="gap", restart=True).solve(problem, POINTS).codes
    peer = SklearnElasticNet(alpha / 2, l1_ratio=ratio, fit_intercept=False, positive=positive, tol=1e-12)
    expected = np.stack([peer.fit(W.numpy().T, row).coef_ for row in X.numpy()])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)


def test_components_of_a_group_are_on_or_off_together():
    codes = FISTA(max_iter=10_000, tol=1e-10).solve(LinearProblem(X, W, GroupLasso(0.3, 3, False)), POINTS).codes
    on = (codes != 0).unflatten(1, (2, 3))
    assert (on.all(2) == on.any(2)).all()
    assert 0 < on.float().mean() < 1


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match=r"0 < l1_ratio <= 1, but got 0\.0"):
        ElasticNet(0.1, 0.0)
    with pytest.raises(ValueError, match="6 components, which do not make groups of 4"):
        GroupLasso(0.1, 4).value(POINTS)
