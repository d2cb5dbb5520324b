import pytest
import torch

from skvardict import sparse_encode
from skvardict.energies import L1, Coupling, ElasticNet, LinearProblem, MaskedLinearProblem, VarianceHinge
from skvardict.solvers import FISTA

N, D, COMPONENTS = 20, 12, 16


@pytest.fixture
def parts():
    generator = torch.Generator().manual_seed(0)
    X, atoms, codes, prediction, draw = (
        torch.rand(shape, generator=generator, dtype=torch.float64)
        for shape in ((N, D), (COMPONENTS, D), (N, COMPONENTS), (N, COMPONENTS), (N, D))
    )
    return X - 0.5, atoms - 0.5, codes, prediction, torch.where(draw < 0.4, torch.nan, X - 0.5)


def test_energy_is_that_of_the_observed_columns_of_each_row(parts):
    _, atoms, codes, prediction, X = parts
    energies = MaskedLinearProblem(X, atoms, L1(0.1), Coupling(2.0, prediction)).energy(codes)
    for row, code, predicted, energy in zip(X, codes, prediction, energies):
        seen = ~row.isnan()
        alone = LinearProblem(row[None, seen], atoms[:, seen], L1(0.1), Coupling(2.0, predicted[None]))
        torch.testing.assert_close(energy, alone.energy(code[None])[0], rtol=1e-12, atol=0)


@pytest.mark.parametrize("hinge", [None, VarianceHinge(3.0, 0.7)])
def test_gradient_is_that_of_autograd(parts, hinge):
    _, atoms, codes, prediction, X = parts
    problem = MaskedLinearProblem(X, atoms, L1(0.1), Coupling(2.0, prediction), hinge)
    point = codes.clone().requires_grad_()
    error = torch.where(X.isnan(), 0, point @ atoms - X).square().sum(1) / (~X.isnan()).sum(1)
    value = error.sum() + 2.0 * (point - prediction).square().mean(1).sum()
    if hinge is not None:
        value = value + 3.0 * (0.7 - point.std(0)).relu().square().sum()
    torch.testing.assert_close(problem.smooth_value(codes).sum(), value.detach(), rtol=1e-10, atol=0)
    (expected,) = torch.autograd.grad(value, point)
    torch.testing.assert_close(problem.gradient(codes), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("hinge", [None, VarianceHinge(3.0, 0.7)])
@pytest.mark.parametrize("penalty", [L1(0.1), ElasticNet(0.1, 0.2)])
def test_without_missing_entries_all_is_as_without_masks(parts, penalty, hinge):
    X, atoms, codes, prediction, _ = parts
    terms = penalty, Coupling(2.0, prediction), hinge
    masked, plain = MaskedLinearProblem(X, atoms, *terms), LinearProblem(X, atoms, *terms)
    torch.testing.assert_close(masked.energy(codes), plain.energy(codes), rtol=1e-12, atol=0)
    torch.testing.assert_close(masked.gradient(codes), plain.gradient(codes), rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(masked.curvature(), plain.curvature(), rtol=1e-12, atol=0)
    results = [FISTA(max_iter=30, tol=0.0).solve(problem, codes).codes for problem in (masked, plain)]
    torch.testing.assert_close(*results, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("positive", [True, False])
def test_codes_are_those_that_another_solver_finds_in_the_observed_columns(parts, positive):
    _, atoms, _, _, X = parts
    problem = MaskedLinearProblem(X, atoms, L1(0.02, positive))
    result = FISTA(max_iter=20_000, tol=1e-10, restart=True).solve(problem, torch.zeros(N, COMPONENTS).double())
    assert result.converged.all()
    for row, code in zip(X, result.codes):
        seen = ~row.isnan()
        expected = sparse_encode(row[None, seen], atoms[:, seen], alpha=0.02, positive=positive, tol=1e-12)
        torch.testing.assert_close(code[None], expected, rtol=0, atol=1e-5)


def test_codes_do_not_depend_on_batch_mates(parts):
    _, atoms, codes, prediction, X = parts
    terms = L1(0.02), Coupling(0.5, prediction)
    together = FISTA(max_iter=3000, tol=1e-5).solve(MaskedLinearProblem(X, atoms, *terms), codes)
    assert len(together.n_iter.unique()) > 1
    for row in range(N):
        one = slice(row, row + 1)
        problem = MaskedLinearProblem(X[one], atoms, L1(0.02), Coupling(0.5, prediction[one]))
        alone = FISTA(max_iter=3000, tol=1e-5).solve(problem, codes[one])
        torch.testing.assert_close(together.codes[one], alone.codes, rtol=0, atol=1e-12)
        assert together.n_iter[row] == alone.n_iter[0]


@pytest.mark.parametrize("hinge", [None, VarianceHinge(3.0, 0.7)])
def test_no_step_is_longer_than_the_curvature_allows(parts, hinge):
    _, atoms, codes, prediction, X = parts
    problem = MaskedLinearProblem(X, atoms, L1(0.1), Coupling(2.0, prediction), hinge).start_at(codes)
    steps = problem.with_step(1 / problem.curvature())._step.expand(N, 1)
    if hinge is not None:
        assert len(steps.unique()) == 1
    for row, step in zip(X, steps):
        seen = ~row.isnan()
        hessian = 2 / seen.sum() * atoms[:, seen] @ atoms[:, seen].T
        largest = torch.linalg.eigvalsh(hessian)[-1] + 2 * 2.0 / COMPONENTS
        largest = largest + (0 if hinge is None else hinge.curvature(N))
        assert float(step) <= 1 / float(largest) * (1 + 1e-9)


def test_energies_fall_from_step_to_step_under_a_hinge(parts):
    _, atoms, codes, _, X = parts
    problem = MaskedLinearProblem(X, atoms, L1(0.02), None, VarianceHinge(3.0, 0.7))
    values = [float(problem.energy(FISTA(max_iter=n, tol=0.0).solve(problem, codes).codes).sum()) for n in (1, 10, 100)]
    assert values[0] > values[1] > values[2]


def test_a_row_without_entries_has_no_reconstruction_term(parts):
    _, atoms, codes, _, _ = parts
    X = torch.full((2, D), torch.nan, dtype=torch.float64)
    problem = MaskedLinearProblem(X, atoms, L1(0.1))
    torch.testing.assert_close(problem.energy(codes[:2]), 0.1 * codes[:2].sum(1))
    assert (FISTA(max_iter=1000).solve(problem, codes[:2]).codes == 0).all()


def test_the_gap_is_refused_for_masked_rows(parts):
    _, atoms, codes, _, X = parts
    with pytest.raises(ValueError, match=r"criterion='gap' needs rows without missing entries.*Use criterion='change'"):
        FISTA(criterion="gap").solve(MaskedLinearProblem(X, atoms, L1(0.1)), codes)


def test_ones_own_step_size_is_that_of_complete_rows(parts):
    X, atoms, *_ = parts
    X = X.clone()
    X[0, : D // 2] = torch.nan
    problem = MaskedLinearProblem(X, atoms, L1(0.1)).with_step(0.3)
    torch.testing.assert_close(problem._step, torch.tensor([0.15] + [0.3] * (N - 1)).double()[:, None])
