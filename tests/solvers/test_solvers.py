"""FISTA and ISTA against scikit-learn's Lasso, a plain autograd implementation, and each other."""

import itertools

import numpy as np
import pytest
import torch
from sklearn.linear_model import Lasso

from benchmarks._autograd_fista import autograd_fista
from skvardict.energies import L1, Coupling, DecoderProblem, GroupLasso, LinearProblem, VarianceHinge, to_sklearn_alpha
from skvardict.networks import MLPDecoder
from skvardict.solvers import FISTA, ISTA
from skvardict.solvers._rows import MaskedRows


def _rand(*shape, seed=0, dtype=torch.float64):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


X, W = _rand(40, 16), 0.3 * _rand(48, 16, seed=1)
ZEROS = torch.zeros(40, 48, dtype=torch.float64)
E = _rand(40, 48, seed=2).clamp_min(0)


def vdl(X=X, atoms=W, prediction=E):
    return LinearProblem(X, atoms, L1(0.02), Coupling(5.0, prediction), VarianceHinge(10.0, 0.5))


@pytest.mark.parametrize("positive", [True, False])
def test_codes_equal_those_of_lasso_and_meet_its_optimality_conditions(positive):
    alpha = 0.02
    problem = LinearProblem(X, W, L1(alpha, positive))
    result = FISTA(max_iter=50_000, tol=1e-13, criterion="gap", restart=True).solve(problem, ZEROS)
    assert result.converged.all()
    lam = to_sklearn_alpha(alpha, 16)
    for row, code in zip(X.numpy(), result.codes.numpy()):
        lasso = Lasso(alpha=lam / 16, fit_intercept=False, positive=positive, tol=1e-12, max_iter=1_000_000)
        # Codes may differ along flat directions of an overcomplete dictionary; reconstructions may not.
        expected = lasso.fit(W.numpy().T, row).coef_
        np.testing.assert_allclose(code @ W.numpy(), expected @ W.numpy(), atol=1e-5)
        np.testing.assert_allclose(np.abs(code).sum(), np.abs(expected).sum(), rtol=1e-5)
    correlation = (X - result.codes @ W) @ W.T
    active = result.codes != 0
    residual = (correlation - lam * result.codes.sign())[active].abs().max()
    assert residual < 1e-4 * lam
    limit = correlation if positive else correlation.abs()
    assert (limit <= lam * (1 + 1e-4)).all()


@pytest.mark.parametrize("step_size", [0.05, 0.2])
def test_vdl_inference_equals_plain_autograd(step_size):
    expected, _ = autograd_fista(
        X, lambda z: z @ W, E, E, alpha=0.02, beta=10.0, gamma=5.0, step_size=step_size, check_every=4
    )
    result = FISTA(step_size=step_size).solve(vdl(), E)
    assert len(result.n_iter.unique()) > 1  # rows did stop at different times
    torch.testing.assert_close(result.codes, expected, rtol=0, atol=1e-8)


PROBLEMS = {
    "vdl": vdl(),
    "positive": LinearProblem(X, W, L1(0.02)),
    "signed": LinearProblem(X, W, L1(0.02, positive=False)),
    "group lasso": LinearProblem(X, W, GroupLasso(0.02, 4)),
}


@pytest.mark.parametrize("problem", PROBLEMS.values(), ids=PROBLEMS)
@pytest.mark.parametrize("step_size", [0.1, "auto", "backtracking"])
@pytest.mark.parametrize("restart", [False, True])
def test_rows_that_leave_equal_rows_that_are_masked(problem, step_size, restart, monkeypatch):
    solver = FISTA(max_iter=500, step_size=step_size, restart=restart)
    dropped = solver.solve(problem, E)
    monkeypatch.setattr("skvardict.solvers.fista.follow_rows", MaskedRows)
    masked = solver.solve(problem, E)
    assert dropped.n_iter.max() > dropped.n_iter.min()
    torch.testing.assert_close(dropped.codes, masked.codes, rtol=0, atol=1e-8)
    torch.testing.assert_close(dropped.n_iter, masked.n_iter)
    torch.testing.assert_close(dropped.converged, masked.converged)


def test_leading_axes_equal_a_loop():
    atoms = torch.stack([W, 0.5 * W])
    data = torch.stack([X, 2 * X])
    start = torch.stack([E, E])
    stacked = FISTA().solve(vdl(data, atoms, start), start)
    for index in range(2):
        alone = FISTA().solve(vdl(data[index], atoms[index]), E)
        torch.testing.assert_close(stacked.codes[index], alone.codes, rtol=0, atol=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("restart", [False, True])
def test_rows_do_not_depend_on_their_neighbours_without_the_hinge(dtype, restart):
    scales = torch.logspace(-2, 2, 40, dtype=torch.float64)[:, None]
    rows, atoms = (X * scales).to(dtype), W.to(dtype)
    solver = FISTA(max_iter=300, tol=0.0, restart=restart)

    def codes(block):
        return solver.solve(LinearProblem(block, atoms, L1(0.02)), block.new_zeros(len(block), 48)).codes

    whole, order = codes(rows), torch.randperm(40, generator=torch.Generator().manual_seed(0))
    # Relative to the row's own size: products of other heights round differently, 300 times over.
    tolerance = (2e-2 if restart else 1e-3) if dtype == torch.float32 else 1e-6
    size = whole.norm(dim=1, keepdim=True) + 1e-6
    for other in (
        torch.cat([codes(row[None]) for row in rows]),
        torch.cat([codes(rows[:20]), codes(rows[20:])]),
        codes(rows[order])[order.argsort()],
    ):
        assert ((other - whole).abs() / size).max() < tolerance


def test_a_zero_row_converges_at_the_first_test():
    rows = X.clone()
    rows[3] = 0
    result = FISTA().solve(LinearProblem(rows, W, L1(0.02)), ZEROS)
    assert result.n_iter[3] == 4
    assert not result.codes[3].any()


def test_no_tolerance_runs_all_iterations_and_the_start_is_left_alone():
    start = E.clone()
    result = FISTA(max_iter=7, tol=0.0).solve(vdl(), start)
    assert (result.n_iter == 7).all()
    assert not result.converged.any()
    torch.testing.assert_close(start, E, rtol=0, atol=0)


def test_the_energy_of_ista_never_rises():
    problem = LinearProblem(X, W, L1(0.02))
    energies = [
        float(ISTA(max_iter=k, tol=0.0).solve(LinearProblem(X, W, L1(0.02)), E).energy.sum()) for k in range(1, 40, 3)
    ]
    assert all(later <= earlier + 1e-12 for earlier, later in itertools.pairwise(energies))
    assert energies[-1] < float(problem.energy(E).sum())


def _decoder_problem():
    decoder = MLPDecoder(48, 16, (20,), torch.Generator().manual_seed(0)).double()
    curvature = decoder.lipschitz_squared() * 2 / 16
    terms = L1(0.02), Coupling(5.0, E), VarianceHinge(10.0, 0.5)
    return decoder, DecoderProblem(X, decoder, *terms, reconstruction_curvature=curvature)


def test_vdl_inference_with_hidden_layers_equals_plain_autograd():
    decoder, problem = _decoder_problem()
    expected, _ = autograd_fista(X, decoder, E, E, alpha=0.02, beta=10.0, gamma=5.0, step_size=0.1)
    torch.testing.assert_close(FISTA(step_size=0.1).solve(problem, E).codes, expected, rtol=0, atol=1e-8)


@pytest.mark.parametrize("step_size", ["auto", "backtracking"])
def test_step_rules_for_hidden_layers_reach_the_energy_of_a_small_constant_step(step_size):
    _, problem = _decoder_problem()
    reference = float(FISTA(step_size=0.05, tol=1e-6, max_iter=3000).solve(problem, E).energy.sum())
    result = FISTA(step_size=step_size, tol=1e-5, max_iter=3000).solve(_decoder_problem()[1], E)
    # ReLU and the hinge make the energy non-convex: equal basins, not equal codes.
    assert float(result.energy.sum()) == pytest.approx(reference, rel=0.02)


def test_the_gap_is_refused_for_coupled_rows():
    with pytest.raises(ValueError, match="criterion='gap' needs a convex problem"):
        FISTA(criterion="gap").solve(vdl(), E)


@pytest.mark.parametrize("solver", [FISTA, ISTA])
@pytest.mark.parametrize(
    "setting",
    [
        {"step_size": "backtraking"},
        {"step_size": -1.0},
        {"step_size": None},
        {"criterion": "gapp"},
        {"max_iter": -3},
        {"max_iter": 2.5},
        {"tol": -1},
        {"tol": "a"},
        {"check_every": 0},
    ],
    ids=str,
)
def test_settings_are_checked_by_name(solver, setting):
    (name,) = setting
    problem = LinearProblem(torch.ones(2, 3), torch.eye(3), L1(0.1))
    with pytest.raises(ValueError, match=f"The '{name}' parameter of {solver.__name__} must be"):
        solver(**setting).solve(problem, torch.zeros(2, 3))


def test_settings_set_between_two_batches_are_checked(monkeypatch):
    """Once for equal settings, whatever solver holds them; equal numbers of other types are other settings."""
    seen = []
    check = FISTA._validate_params
    monkeypatch.setattr(FISTA, "_validate_params", lambda solver: (seen.append(solver.max_iter), check(solver)))
    problem, start = LinearProblem(torch.ones(2, 3), torch.eye(3), L1(0.1)), torch.zeros(2, 3)
    solver = FISTA(max_iter=1237)
    for _ in range(3):
        solver.solve(problem, start)
        FISTA(max_iter=1237).solve(problem, start)
    assert seen == [1237]
    for invalid in (1237.0, [1237], np.array([3])):
        with pytest.raises(ValueError, match="The 'max_iter' parameter of FISTA must be"):
            solver.set_params(max_iter=invalid).solve(problem, start)
    solver.set_params(max_iter=1237).solve(problem, start)
    assert len(seen) == 4
