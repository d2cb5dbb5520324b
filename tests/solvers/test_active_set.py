"""ActiveSetADMM against FISTA with restart, which shares none of its steps, where supports are hard to find."""

import pytest
import torch

from skvardict.energies import L1, Coupling, ElasticNet, GroupLasso, LinearProblem, VarianceHinge
from skvardict.solvers import FISTA, ActiveSetADMM
from skvardict.solvers.active_set import _ROUNDS

ATOMS = {
    "undercomplete": lambda W: W[:20],
    "overcomplete": lambda W: W,
    "repeated and zero atoms": lambda W: torch.cat([W[:30], W[:30], torch.zeros_like(W[:3])]),
    "norms over six decades": lambda W: W * torch.logspace(-3, 3, len(W), dtype=W.dtype)[:, None],
    "correlated": lambda W: W + 2,
}


def lasso(kind, positive=True, fraction=0.1, gamma=0.0, seed=0):
    generator = torch.Generator().manual_seed(seed)
    X, W = (torch.randn(n, 32, generator=generator, dtype=torch.float64) for n in (40, 64))
    atoms = ATOMS[kind](W)
    correlation = X @ atoms.mT * (2 / 32)
    alpha = fraction * float((correlation if positive else correlation.abs()).max())
    prediction = torch.rand(40, len(atoms), generator=generator, dtype=torch.float64)
    return LinearProblem(X, atoms, L1(alpha, positive), Coupling(gamma, prediction))


def zeros(problem):
    return torch.zeros_like(problem.linear)


@pytest.mark.parametrize("gamma", [0.0, 1.0])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("kind", ATOMS)
def test_energies_equal_those_of_fista(kind, positive, gamma):
    problem = lasso(kind, positive, gamma=gamma)
    result = ActiveSetADMM(max_iter=100_000, tol=1e-9).solve(problem, zeros(problem))
    reference = FISTA(max_iter=100_000, tol=1e-9, restart=True, criterion="gap").solve(problem, zeros(problem))
    assert result.converged.all()
    gap = problem.relative_gap(result.codes)  # from the data, not from the Gram matrix as in the solver
    assert (gap.gap <= 1.01e-9 * gap.objective + 1e-14).all()
    torch.testing.assert_close(result.energy, reference.energy, rtol=2e-9, atol=1e-14)
    assert not positive or (result.codes >= 0).all()


@pytest.mark.parametrize("positive", [True, False])
def test_the_elastic_net_is_solved_as_a_lasso(positive):
    whole = lasso("overcomplete", positive)
    problem = LinearProblem(whole.X, whole.components, ElasticNet(3 * whole.penalty.alpha, 0.3, positive))
    result = ActiveSetADMM(max_iter=100_000, tol=1e-9).solve(problem, zeros(problem))
    reference = FISTA(max_iter=100_000, tol=1e-9, restart=True, criterion="gap").solve(problem, zeros(problem))
    assert result.converged.all()
    torch.testing.assert_close(result.energy, reference.energy, rtol=2e-9, atol=1e-14)


@pytest.mark.parametrize("positive", [True, False])
def test_rows_whose_support_is_hard_to_find_end_by_exchanges(positive):
    problem = lasso("overcomplete", positive, fraction=1e-4)
    result = ActiveSetADMM(max_iter=100_000, tol=1e-6).solve(problem, zeros(problem))
    assert result.converged.all()
    assert result.n_iter.max() > sum(_ROUNDS)
    assert (problem.relative_gap(result.codes).gap <= 1.01e-6 * result.energy).all()


def test_well_posed_rows_end_after_few_rounds():
    problem = lasso("undercomplete", fraction=0.3)
    assert (ActiveSetADMM(tol=1e-9).solve(problem, zeros(problem)).n_iter <= 30).all()


def test_rows_do_not_depend_on_each_other():
    whole = lasso("overcomplete")
    codes = ActiveSetADMM(tol=1e-9).solve(whole, zeros(whole)).codes
    order = torch.randperm(40, generator=torch.Generator().manual_seed(0))[:11]
    part = LinearProblem(whole.X[order], whole.components, whole.penalty)
    torch.testing.assert_close(ActiveSetADMM(tol=1e-9).solve(part, zeros(part)).codes, codes[order])


def test_iteration_limit_is_kept_and_said():
    problem = lasso("correlated", fraction=1e-3)
    result = ActiveSetADMM(max_iter=7, tol=1e-12).solve(problem, zeros(problem))
    assert (result.n_iter == 7).all()
    assert not result.converged.all()
    assert torch.isfinite(result.codes).all()


def test_start_at_the_solution_needs_one_round():
    problem = lasso("overcomplete", fraction=0.2)
    solution = ActiveSetADMM(tol=1e-10).solve(problem, zeros(problem)).codes
    again = ActiveSetADMM(tol=1e-9).solve(problem, solution)
    assert again.converged.all()
    torch.testing.assert_close(again.codes, solution)


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("positive", [True, False])
def test_gap_from_the_gradient_equals_the_gap_from_the_data(positive, gamma):
    problem = lasso("overcomplete", positive, gamma=gamma)
    codes = (problem.linear * 3).relu()  # any codes
    for value, expected in zip(
        problem.relative_gap(codes, problem.gradient(codes)), problem.relative_gap(codes), strict=True
    ):
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    ("penalty", "hinge"), [(L1(0.0), None), (L1(0.1), VarianceHinge(1.0)), (GroupLasso(0.1, 3), None)], ids=str
)
def test_other_problems_are_refused(penalty, hinge):
    problem = LinearProblem(torch.ones(2, 3), torch.eye(3), penalty, hinge=hinge)
    with pytest.raises(ValueError, match=r"alpha > 0 and beta = 0, but got a LinearProblem with .* Use FISTA"):
        ActiveSetADMM().solve(problem, torch.zeros(2, 3))


def test_settings_are_checked_by_name():
    problem = lasso("overcomplete")
    for name in ("max_iter", "tol"):
        with pytest.raises(ValueError, match=f"The '{name}' parameter of ActiveSetADMM must be"):
            ActiveSetADMM(**{name: -1}).solve(problem, zeros(problem))
