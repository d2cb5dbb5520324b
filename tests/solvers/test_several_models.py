"""Codes of several models at once are those of each by itself: weights (m, 1, 1), and rows that end on their own."""

import pytest
import torch

from skvardict._utils.random import make_generator
from skvardict.energies import L1, Coupling, LinearProblem, VarianceHinge
from skvardict.functional import per_batch, per_row, stack_weights
from skvardict.solvers import ADMM, FISTA, ISTA

N_MODELS, N_ROWS, N_COMPONENTS, N_FEATURES = 3, 20, 6, 9
SOLVERS = [
    FISTA(max_iter=300, tol=1e-8),
    FISTA(max_iter=300, tol=1e-6, restart=True),
    FISTA(max_iter=40, step_size="backtracking"),
    FISTA(max_iter=40, step_size=0.3),
    ISTA(max_iter=50),
]


def draw(*shape, seed):
    return torch.randn(*shape, generator=make_generator(seed), dtype=torch.float64)


def stacked(values):
    return stack_weights(values, torch.empty(0, dtype=torch.float64))


@pytest.fixture
def parts():
    return {
        "X": draw(N_MODELS, N_ROWS, N_FEATURES, seed=0),
        "atoms": draw(N_MODELS, N_COMPONENTS, N_FEATURES, seed=1) * torch.tensor([0.3, 1.0, 2.0])[:, None, None],
        "start": draw(N_MODELS, N_ROWS, N_COMPONENTS, seed=2).abs(),
        "alphas": [0.0, 0.05, 0.3],
        "gammas": [0.5, 5.0, 1.0],
        "betas": [0.5, 4.0, 1.0],
    }


def problems(parts, *, couples, hinges, positive=True):
    """Return the problem of all models, and that of each."""

    def build(X, atoms, start, alpha, gamma, beta):
        coupling = Coupling(gamma, start) if couples else None
        return LinearProblem(X, atoms, L1(alpha, positive), coupling, VarianceHinge(beta, 0.5) if hinges else None)

    weights = [parts[name] for name in ("alphas", "gammas", "betas")]
    tensors = [parts[name] for name in ("X", "atoms", "start")]
    together = build(*tensors, *map(stacked, weights))
    return together, [build(*(t[m] for t in tensors), *(w[m] for w in weights)) for m in range(N_MODELS)]


@pytest.mark.parametrize("couples", [False, True])
@pytest.mark.parametrize("hinges", [False, True])
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("solver", SOLVERS, ids=str)
def test_each_model_has_its_own_codes(parts, solver, couples, hinges, positive):
    together, singles = problems(parts, couples=couples, hinges=hinges, positive=positive)
    result = solver.solve(together, parts["start"])
    for model, single in enumerate(singles):
        alone = solver.solve(single, parts["start"][model])
        torch.testing.assert_close(result.codes[model], alone.codes, rtol=1e-9, atol=1e-11)
        assert torch.equal(result.n_iter[model], alone.n_iter)
        assert torch.equal(result.converged[model], alone.converged)
        torch.testing.assert_close(result.energy[model], alone.energy, rtol=1e-9, atol=1e-11)
    if solver.tol == 1e-8:  # or nothing would be seen of rows that end
        assert len(result.n_iter.unique()) > 1


@pytest.mark.parametrize("couples", [False, True])
def test_gaps_are_those_of_each_model(parts, couples):
    together, singles = problems(parts, couples=couples, hinges=False)
    gaps = together.relative_gap(parts["start"])
    for model, single in enumerate(singles):
        for one, other in zip(single.relative_gap(parts["start"][model]), gaps, strict=True):
            torch.testing.assert_close(other[model], one)


@pytest.mark.parametrize("n_features", [2, N_FEATURES])  # thin matrices, and square ones
@pytest.mark.parametrize("positive", [False, True])
@pytest.mark.parametrize("n_rows", [3, 300])  # several models in cache at a time, and several blocks of rows each
def test_admm_has_the_codes_of_each_model(parts, n_rows, positive, n_features):
    """To rounding of the single precision in which it iterates."""
    X = draw(N_MODELS, n_rows, n_features, seed=3)
    parts |= {"X": X, "atoms": parts["atoms"][..., :n_features], "start": X.new_zeros(N_MODELS, n_rows, N_COMPONENTS)}
    together, singles = problems(parts, couples=False, hinges=False, positive=positive)
    result = ADMM().solve(together, parts["start"])
    for model, single in enumerate(singles):
        alone = ADMM().solve(single, parts["start"][model])
        torch.testing.assert_close(result.codes[model], alone.codes, rtol=1e-4, atol=1e-5)
        assert not positive or bool((result.codes[model] >= 0).all())


def test_weights_that_agree_stay_numbers():
    assert stacked([0.1, 0.1]) == 0.1
    weights = stacked([0.1, 0.2])
    assert weights.shape == (2, 1, 1)
    assert per_row(weights).shape == (2, 1)
    assert per_batch(weights).tolist() == [0.1, 0.2]
    assert per_row(0.1) == per_batch(0.1) == 0.1
