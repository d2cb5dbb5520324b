"""What the pretend GPU says, asked of a real one; see docs/decisions/0066."""

import numpy as np
import pytest
import torch

from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.energies import L1, LinearProblem, VarianceHinge
from skvardict.functional import LateAnswer
from skvardict.functional.graphs import Repeated, forget_graphs
from skvardict.networks import MLP
from skvardict.solvers import ADMM, FISTA
from skvardict.training import loop

MODELS = {
    "VDL": lambda **kw: VarianceDictionaryLearning(8, **kw),
    "VDL-NL": lambda **kw: VarianceDictionaryLearning(8, decoder=MLP((16,)), **kw),
    "SDL, online": lambda **kw: StandardDictionaryLearning(8, encoder=None, **kw),
}

pytestmark = [pytest.mark.gpu, pytest.mark.filterwarnings("ignore:.*were never active:UserWarning")]


@pytest.fixture
def X():
    return np.random.default_rng(0).standard_normal((200, 12)).astype(np.float32)


def problem_of(X, beta):
    rows = torch.from_numpy(X).cuda()
    atoms = torch.nn.functional.normalize(rows[:10], dim=1)
    return LinearProblem(rows, atoms, L1(0.01), None, VarianceHinge(beta, 0.2))


@pytest.mark.parametrize(("solver", "beta"), [(FISTA(max_iter=40), 1.0), (FISTA(max_iter=40), 0.0), (ADMM(), 0.0)])
def test_a_graph_gives_the_codes_of_single_launches(solver, beta, X, monkeypatch):
    forget_graphs()
    start = torch.zeros(len(X), 10, device="cuda")
    captured = [solver.solve(problem_of(X, beta), start).codes for _ in range(3)][-1]
    monkeypatch.setattr(Repeated, "_replay", lambda self, argument: False)
    single = solver.solve(problem_of(X, beta), start).codes
    torch.testing.assert_close(captured, single, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", MODELS)
def test_a_fit_makes_graphs_and_does_not_wait_in_its_steps(name, X, monkeypatch):
    n_steps, step = [], loop._step

    def watched(*args):
        n_steps.append(1)
        if len(n_steps) > 20:  # of five epochs; graphs are made by then
            torch.cuda.set_sync_debug_mode("error")
        try:
            return step(*args)
        finally:
            torch.cuda.set_sync_debug_mode("default")

    monkeypatch.setattr(loop, "_step", watched)
    forget_graphs()
    model = MODELS[name](device="cuda", max_iter=5, batch_size=20, random_state=0).fit(X)
    expected = MODELS[name](device="cpu", max_iter=5, batch_size=20, random_state=0).fit(X)
    np.testing.assert_allclose(model.components_, expected.components_, rtol=2e-2, atol=2e-2)


def test_a_late_answer_is_that_of_the_call_before():
    late, answers = LateAnswer(), torch.tensor([True, False, True], device="cuda")
    assert [late(answers[index].clone()) for index in range(3)] == [False, True, False]
