"""Fits do not disturb each other, whatever runs beside them; the same seed gives the same bits; nothing is leaked."""

import gc
import hashlib
import multiprocessing
import os
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from joblib import Parallel, delayed

from skvardict import VarianceDictionaryLearning
from skvardict._utils import random as random_module
from skvardict.networks import MLP

ROOT = Path(__file__).resolve().parents[2]
NONLINEAR = {"decoder": MLP((9,))}


def build(n_features, n_components):
    """Return a decoder that draws its first weights from torch's global generator."""
    return torch.nn.Sequential(torch.nn.Linear(n_components, 7), torch.nn.Tanh(), torch.nn.Linear(7, n_features))


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)


def small(**parameters):
    return VarianceDictionaryLearning(**{"n_components": 6, "max_iter": 3, "random_state": 0, **parameters})


def assert_same_model(one, other):
    for name, array in one.params_.items():
        np.testing.assert_array_equal(other.params_[name], array, err_msg=name)


# ------------------------------------------------------------------------------------------------------- concurrency


@pytest.mark.filterwarnings("ignore:.*solver did not converge:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("parameters", [{}, NONLINEAR, {"decoder": build}], ids=["linear", "mlp", "builder"])
def test_fits_in_four_threads_equal_fits_one_after_another(X, parameters):
    seeds = range(8)
    expected = [small(random_state=seed, **parameters).fit(X) for seed in seeds]
    with ThreadPoolExecutor(4) as pool:
        models = list(pool.map(lambda seed: small(random_state=seed, **parameters).fit(X), seeds))
    for one, other in zip(expected, models, strict=True):
        assert_same_model(one, other)


@pytest.mark.parametrize("algorithm", ["encoder", "solver"])
def test_sixteen_concurrent_transforms_of_one_estimator_are_equal(X, algorithm):
    model = small(transform_algorithm=algorithm).fit(X)
    expected = {
        np.dtype(dtype): small(transform_algorithm=algorithm).fit(X).transform(X.astype(dtype)) for dtype in "fd"
    }
    inputs = [X.astype("fd"[index % 2]) for index in range(64)]  # the rebuilt modules change hands between dtypes
    with ThreadPoolExecutor(16) as pool:
        for rows, codes in zip(inputs, pool.map(model.transform, inputs), strict=True):
            np.testing.assert_array_equal(codes, expected[rows.dtype])


def test_loky_workers_give_the_model_of_this_process(X):
    # A worker has one thread; so has the process that is compared with it.
    code = "from tests.training.test_isolation import *; print(fit_and_digest())"
    digests = Parallel(n_jobs=2, backend="loky")(delayed(fit_and_digest)() for _ in range(4))
    assert set(digests) == {run_python(code, threads=1)}


def rows():
    return np.random.default_rng(0).standard_normal((300, 10)).astype(np.float32)


def digest(model):
    return hashlib.sha256(b"".join(model.params_[name].tobytes() for name in sorted(model.params_))).hexdigest()


def fit_and_digest():
    assert torch.get_num_threads() == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return " ".join(digest(small(**parameters).fit(rows())) for parameters in ({}, NONLINEAR))


def run_python(code, threads):
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


FORK = """
import multiprocessing, warnings
warnings.simplefilter("ignore")  # Python's advice about forks beside threads
from tests.training.test_isolation import *

def work(queue):
    queue.put(digest(small(decoder=build).fit(rows())))

expected = digest(small(decoder=build).fit(rows()))
context = multiprocessing.get_context("fork")
queue = context.Queue()
child = context.Process(target=work, args=(queue,))
child.start()
print(queue.get(timeout=60) == expected)
child.join()
"""


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="the system has no fork")
def test_a_forked_process_can_fit_after_its_parent_has():
    assert run_python(FORK, threads=1) == "True"


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_a_lock_held_while_forking_is_open_in_the_child():
    with random_module._global_generator_lock:
        code = os.fork()
        if code == 0:  # in the child: no pytest, no cleanup
            os._exit(0 if random_module._global_generator_lock.acquire(timeout=5) else 1)
    assert os.waitpid(code, 0)[1] == 0


# ------------------------------------------------------------------------------------------------------- determinism


def test_the_same_seed_gives_the_same_bits_in_every_process_with_the_same_threads():
    """For two threads; test_loky_workers_give_the_model_of_this_process is about one."""
    code = """
    import warnings; warnings.simplefilter("ignore")
    from tests.training.test_isolation import *
    X = np.random.default_rng(0).standard_normal((400, 64)).astype(np.float32)
    for parameters in ({}, NONLINEAR):
        model = small(n_components=48, max_iter=1, batch_size=200, **parameters).fit(X)
        print(torch.get_num_threads(), digest(model), hashlib.sha256(model.transform(X).tobytes()).hexdigest())
    """
    first, second = (run_python(code, threads=2) for _ in range(2))
    assert first == second
    assert first.split()[0] == str(min(2, os.cpu_count()))


@pytest.mark.filterwarnings("ignore:.*solver did not converge:sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("parameters", [{}, NONLINEAR], ids=["linear", "mlp"])
def test_bits_do_not_depend_on_where_rows_lie_in_memory(X, parameters):
    expected = small(**parameters).fit(X)
    for shift in (4, 8, 20):
        memory = np.empty(X.nbytes + 64, dtype=np.uint8)
        moved = memory[shift : shift + X.nbytes].view(np.float32).reshape(X.shape)
        moved[...] = X
        assert_same_model(expected, small(**parameters).fit(moved))
        np.testing.assert_array_equal(expected.transform(moved), expected.transform(X))


def test_the_callers_generators_neither_steer_a_fit_nor_move(X):
    expected = small(decoder=build).fit(X)
    state = torch.get_rng_state()
    try:
        torch.manual_seed(77)  # noqa: TID251
        before = torch.get_rng_state()
        model = small(decoder=build).fit(X)
        assert torch.equal(before, torch.get_rng_state())
    finally:
        torch.set_rng_state(state)
    assert_same_model(expected, model)


# ------------------------------------------------------------------------------------------------------------- leaks


def resident_megabytes():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def test_two_thousand_fits_leave_no_memory_behind():
    if not Path("/proc/self/statm").exists():
        pytest.skip("/proc/self/statm is not there: no Linux")
    X = np.random.default_rng(0).standard_normal((20, 6)).astype(np.float32)

    def fit_many(n_fits):
        for seed in range(n_fits):
            model = small(n_components=4, max_iter=1, random_state=seed, warm_start=True).fit(X)
            model.transform(X)

    fit_many(150)  # caches of the libraries fill
    gc.collect()
    before = resident_megabytes()
    fit_many(2000)
    gc.collect()
    # One model with its training state takes 20 kB: 2000 of them would be 40 MB.
    assert resident_megabytes() - before < 8


def test_no_module_outlives_its_estimator(X):
    def n_modules():
        gc.collect()
        return sum(issubclass(type(thing), torch.nn.Module) for thing in gc.get_objects())

    before = n_modules()
    model = small().fit(X)
    model.transform(X)
    assert n_modules() > before  # kept at hand
    del model
    assert n_modules() == before
