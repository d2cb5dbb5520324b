"""Everything on a pretend GPU: nothing on the wrong device, and no wait for the host but those that are listed.

The pretend GPU, :mod:`benchmarks._pretend_gpu`, computes on the CPU; what it says about a real one is which device a
tensor is on, when the host has to wait, and how many kernels are launched.
"""

import numpy as np
import pytest
import torch
from torch import nn

import skvardict
from benchmarks._pretend_gpu import DeviceMismatchError, OnDevice, pretend_gpu
from benchmarks.launches import BATCH_SIZE, VARIANTS
from skvardict.energies import L1, LinearProblem, VarianceHinge
from skvardict.estimators import _together
from skvardict.estimators._together import Member, fit_together
from skvardict.functional import LateAnswer, graphs, to_host
from skvardict.functional.graphs import Repeated, evaluated, forget_graphs
from skvardict.objectives.recorded import may_be_recorded, recorded_step
from skvardict.rows import Rows
from skvardict.solvers import FISTA
from skvardict.training import loop
from skvardict.training.protocol import Step, add_sums

N_BATCHES, N_EPOCHS = 4, 2
# Exact codes, by choice of the user: shapes depend on the numbers, in every batch.
WAITS_IN_STEPS = {"DO by active sets"}
WAITS_OF_AN_EPOCH = 60
OTHER_RESULTS = {
    "DO with masks",  # the CPU asks whether entries are missing, and here none are
    "VDL, the paper's",  # 200 iterations of an energy that is not convex: rounding grows
    "VDL by backtracking",
}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*did not converge:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*did not reach:sklearn.exceptions.ConvergenceWarning"),
    pytest.mark.filterwarnings("ignore:.*the model has collapsed:UserWarning"),
    pytest.mark.filterwarnings("ignore:.*were never active:UserWarning"),
]


@pytest.fixture(scope="module")
def X():
    rng = np.random.default_rng(0)
    return rng.standard_normal((BATCH_SIZE * N_BATCHES, 12)).astype(np.float32)


def small(name, **parameters):
    quick = {"batch_size": BATCH_SIZE, "early_stopping": False, "max_iter": N_EPOCHS}
    return VARIANTS[name]().set_params(**quick | parameters)


@pytest.mark.parametrize("name", VARIANTS)
def test_a_fit_does_not_wait_for_the_device_in_its_steps(name, X, monkeypatch):
    waits, step = [], loop._step

    def watched(*args):
        before = n_waits()
        result = step(*args)
        waits.append(n_waits() - before)
        return result

    def n_waits():
        # A new graph is compared with what it replaces, once.
        return sum(n for where, n in trace.waits.items() if "functional/graphs.py" not in where)

    monkeypatch.setattr(loop, "_step", watched)
    with pretend_gpu() as trace:
        model = small(name, device="cuda").fit(X)
    assert len(waits) == N_EPOCHS * N_BATCHES
    # In its first step a decoder asks once.
    if name not in WAITS_IN_STEPS:
        assert not any(waits[N_BATCHES:])
        assert n_waits() - sum(waits) <= N_EPOCHS * WAITS_OF_AN_EPOCH
    # Noise of training is drawn on the device, of another generator than the CPU's.
    if getattr(model, "_is_exact", lambda: True)() and name not in OTHER_RESULTS:
        expected = small(name, device="cpu").fit(X)
        for key, array in expected.params_.items():
            # Rows end in place here and leave there: sums over a batch round differently.
            np.testing.assert_allclose(model.params_[key], array, rtol=2e-3, atol=2e-3, err_msg=key)


@pytest.mark.parametrize("name", VARIANTS)
def test_all_methods_work_on_the_device(name, X, use_all_methods):
    use_all_methods(small, name, X, pretend_gpu)


@pytest.mark.parametrize("algorithm", ["lasso", "omp", "threshold"])
def test_sparse_codes_of_rows_on_the_device_are_those_of_the_cpu(algorithm, X):
    atoms = X[:30] / np.linalg.norm(X[:30], axis=1, keepdims=True)
    own = {"n_nonzero_coefs": 3} if algorithm == "omp" else {"alpha": 0.05}
    coding = {"algorithm": algorithm, "positive": False, **own}
    expected = skvardict.sparse_encode(X, atoms, **coding)
    coder = skvardict.SparseCoder(atoms, transform_algorithm=algorithm, positive_code=False, device="cuda", **own)
    with pretend_gpu():
        rows = torch.from_numpy(X).to("cuda")
        codes = skvardict.sparse_encode(rows, torch.from_numpy(atoms).to("cuda"), **coding)
        assert isinstance(codes, OnDevice)
        np.testing.assert_allclose(codes.cpu().numpy(), expected, atol=1e-3)
        np.testing.assert_allclose(coder.fit(X).transform(X), expected, atol=1e-3)
        assert isinstance(coder.inverse_transform(codes), OnDevice)


@pytest.mark.parametrize("free_bytes", [2**30, 0])
@pytest.mark.parametrize("kind", ["tensor", "array", "bytes"])
def test_batches_reach_the_device_without_a_wait(kind, free_bytes, X):
    whole = {"array": X, "tensor": X, "bytes": (100 * X).astype(np.uint8)}[kind]
    with pretend_gpu(free_bytes) as trace:
        rows = Rows(torch.from_numpy(whole).to("cuda") if kind == "tensor" else whole, device="cuda").at_hand()
        assert isinstance(rows.X, OnDevice) == (kind == "tensor" or free_bytes > 0)
        trace.waits.clear()
        batches = list(rows.shuffled(BATCH_SIZE, torch.Generator().manual_seed(0)))
        assert not trace.waits
        assert all(isinstance(batch, OnDevice) and batch.dtype == torch.float32 for batch in batches)
        seen = np.vstack([batch.cpu().numpy() for batch in batches])
    expected = torch.cat(list(Rows(whole).shuffled(BATCH_SIZE, torch.Generator().manual_seed(0))))
    np.testing.assert_array_equal(seen, expected.numpy())


@pytest.mark.parametrize("name", ["VDL", "DO", "VSC"])
def test_models_trained_together_do_not_wait_in_their_batches(name, X):
    def fit(rows, device):
        members = [Member(small(name, device=device, random_state=seed)) for seed in (0, 1)]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_together, "_fit_alone", None)  # together or not at all
            assert fit_together(members, rows) == [None, None]
        return members

    n_waits = []
    for n_rows in (len(X) // 2, len(X)):
        with pretend_gpu() as trace:
            members = fit(X[:n_rows], "cuda")
        n_waits.append(sum(n for where, n in trace.waits.items() if "functional/graphs.py" not in where))
    assert n_waits[0] == n_waits[1]
    if name != "VSC":
        for one, other in zip(members, fit(X, "cpu"), strict=True):
            for key, array in other.estimator.params_.items():
                np.testing.assert_allclose(one.estimator.params_[key], array, rtol=2e-3, atol=2e-3, err_msg=key)


def hinged_problem(X, device):
    atoms = torch.from_numpy(X[:10] / np.linalg.norm(X[:10], axis=1, keepdims=True))
    return LinearProblem(
        torch.from_numpy(X).to(device), atoms.to(device), L1(0.01), None, VarianceHinge(1.0, std_threshold=0.2)
    )


def test_a_batch_stops_within_one_test_of_its_slowest_row(X):
    solver = FISTA(tol=1e-2, check_every=4)
    expected = solver.solve(hinged_problem(X, "cpu"), torch.zeros(len(X), 10))
    asked = []
    with pretend_gpu() as trace:
        problem = hinged_problem(X, "cuda")
        apply = Repeated.apply
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Repeated, "apply", lambda self, weights: (asked.append(len(weights)), apply(self, weights)))
            result = solver.solve(problem, torch.zeros(len(X), 10, device="cuda"))
        assert not trace.waits.keys() & {where for where in trace.waits if "fista" in where}
        n_iter = result.n_iter.cpu()
    assert torch.equal(n_iter, expected.n_iter)
    assert sum(asked) == int(n_iter.max()) + 4  # the test at which the answer of the one before is heard


@pytest.mark.parametrize("beta", [0.0, 1.0])
@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize("restart", [True, False])
def test_a_graph_gives_the_codes_of_single_launches(beta, positive, restart, X, monkeypatch):
    def codes_of(n_solves):
        problem = hinged_problem(X, "cuda")
        problem = LinearProblem(problem.X, problem.components, L1(0.01, positive), None, VarianceHinge(beta, 0.2))
        for _ in range(n_solves):
            result = FISTA(max_iter=40, restart=restart).solve(problem, torch.zeros(len(X), 10, device="cuda"))
        return result.codes.cpu(), result.n_iter.cpu(), result.converged.cpu()

    with pretend_gpu() as trace:
        captured = codes_of(3)
        assert trace.in_graphs > 0
    with pretend_gpu() as trace:
        monkeypatch.setattr(Repeated, "_replay", lambda self, argument: False)
        single = codes_of(1)
        assert trace.in_graphs == 0
    for first, second in zip(captured, single, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


class Follower(nn.Module):
    """A part that remembers something from call to call."""

    __module__ = "skvardict.followers"  # which recordings know

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.register_buffer("seen", torch.zeros(3))

    def forward(self, X):
        self.seen.add_(X.detach().sum(0))
        return X * self.weight


def test_an_evaluated_function_gives_its_results_and_moves_buffers_once_a_call():
    @torch.no_grad()
    def function(part, X, terms):
        return {"value": part(X), "sum": terms["offset"] + X.sum(0)}, part.seen.clone()

    with pretend_gpu() as trace:
        part = Follower().to("cuda")
        for call in range(1, 5):
            X = torch.full((2, 3), float(call)).to("cuda")
            before = trace.in_graphs
            made, seen = evaluated(function, (part, X, {"offset": X[0]}), "follows")
            assert (trace.in_graphs > before) == (call > 1)
            assert made["value"].cpu().tolist() == 2 * [3 * [float(call * call)]]
            assert made["sum"].cpu().tolist() == 3 * [3.0 * call]
            assert seen.cpu().tolist() == 3 * [call * (call + 1.0)]
            with torch.no_grad():
                part.weight.fill_(call + 1)  # read where it is


def test_a_recorded_step_puts_gradients_into_the_weights():
    def make(part, X):
        error = (part(X) - 2).square().mean()
        return Step({"error": error, "constant": X.sum()}, {"n_rows": len(X), "error": error.detach() * len(X)})

    rows = torch.randn(5, 4, 3, generator=torch.Generator().manual_seed(0))
    expected_part = Follower()
    with pretend_gpu() as trace:
        part = Follower().to("cuda")
        for _ in range(2):  # in the second epoch all terms are in the memory of the recording
            sums, expected_sum = {}, 0.0
            for X in rows:
                made = recorded_step(make, (part, X.to("cuda")), [part])
                assert not any(loss.requires_grad for loss in made.losses.values())
                add_sums(sums, made.sums)
                expected = make(expected_part, X)
                expected.losses["error"].backward()
                torch.testing.assert_close(part.weight.grad.cpu(), expected_part.weight.grad)
                expected_part.weight.grad = None
                expected_sum += float(expected.sums["error"])
            assert sums["n_rows"] == 20
            assert float(sums["error"].cpu()) == pytest.approx(expected_sum)
        assert trace.in_graphs > 0


def test_recordings_of_a_model_go_with_its_fit(X):
    forget_graphs()
    with pretend_gpu() as trace:
        small("VDL", device="cuda").fit(X)
        small("SVAE", device="cuda").fit(X)
        assert trace.in_graphs > 0
        kept = [graph for graph in vars(graphs._kept)["graphs"].values() if graph is not None]
        assert kept  # of the solver: another fit goes on with them
        assert not any(graph.modules for graph in kept)
    forget_graphs()
    assert not vars(graphs._kept)


@pytest.mark.parametrize("part", [nn.Dropout(), nn.BatchNorm1d(3), nn.Linear(3, 3)])
def test_what_draws_or_tracks_is_not_recorded(part):
    X = torch.ones(2, 3)
    assert not may_be_recorded(X, [nn.Sequential(part)])  # on the CPU nothing is
    with pretend_gpu():
        assert may_be_recorded(X.to("cuda"), [nn.Sequential(part)]) == isinstance(part, nn.Linear)


def test_what_cannot_be_recorded_goes_on_being_called():
    def waits(constants, state, argument):
        return state + float(argument.sum())

    with pretend_gpu():
        argument, state = torch.ones(2, device="cuda"), torch.zeros(3, device="cuda")
        runs = [Repeated(waits, (), state, "waits", is_captured=True) for _ in range(3)]
        runs[0].apply(argument)
        with pytest.warns(UserWarning, match="CUDA graph is not used"):
            runs[1].apply(argument)
        runs[2].apply(argument)
        assert [run.state.cpu().tolist() for run in runs] == 3 * [[2.0, 2.0, 2.0]]


def test_a_late_answer_is_that_of_the_call_before():
    on_cpu = LateAnswer()
    assert [on_cpu(torch.tensor(answer)) for answer in (True, False)] == [True, False]
    with pretend_gpu() as trace:
        late, answers = LateAnswer(), torch.tensor([True, False, True]).to("cuda")
        trace.waits.clear()
        assert [late(answers[index].clone()) for index in range(3)] == [False, True, False]
        assert not trace.waits


def test_tensors_of_one_type_come_to_the_host_together():
    values = {"a": torch.arange(6.0).view(2, 3), "b": torch.tensor(7.0), "c": torch.arange(3), "d": 4}
    with pretend_gpu() as trace:
        away = {name: value.to("cuda") if isinstance(value, torch.Tensor) else value for name, value in values.items()}
        trace.waits.clear()
        back = to_host(away)
        assert sum(trace.waits.values()) == 2
    assert back["d"] == 4
    for name in "abc":
        assert torch.equal(back[name], values[name])


def test_the_pretend_gpu_notices_what_a_real_one_would(X):
    with pretend_gpu() as trace:
        rows = torch.from_numpy(X).to("cuda")
        with pytest.raises(DeviceMismatchError):
            rows + torch.from_numpy(X)
        assert sum(trace.waits.values()) == 1  # that the rows came from ordinary memory
        torch.from_numpy(X).pin_memory().to("cuda", non_blocking=True)
        assert sum(trace.waits.values()) == 1
        float(rows.sum())
        assert sum(trace.waits.values()) == 2
        with pytest.raises(TypeError, match="numpy"):
            rows.numpy()
