"""Real data where they are, no window system, and a guard around every test's global state."""

import os
import random
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

if "PYTEST_XDIST_WORKER" in os.environ:  # as many processes as cores: one thread each, read as torch is imported
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

with suppress(ImportError):
    import rich.style  # noqa: F401  draws from `random` when scikit-learn's progress bar imports it, before any test

from skvardict.distributions import Cauchy, Gamma, Gaussian, Laplace, SpikeAndSlab, StudentT, Thresholded
from skvardict.models import DenseLatent, SpikeAndSlabLatent, ThresholdedLatent

os.environ.setdefault("MPLBACKEND", "Agg")
_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
if _DATA.is_dir():
    os.environ.setdefault("SKVARDICT_DATA", str(_DATA))


@contextmanager
def meddling(act, before="step"):
    """Inside, training calls ``act(session)`` before every step, epoch or validation.

    `act` may raise; where it returns true before a step, the losses of the step are NaN.
    """
    from skvardict.training import loop

    name = {"step": "_step", "epoch": "_run_epoch", "validation": "_evaluate"}[before]
    original = getattr(loop, name)

    def function(session, *args):
        is_spoilt = act(session)
        result = original(session, *args)
        return {name: loss * float("nan") for name, loss in result.items()} if is_spoilt else result

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop, name, function)
        yield


@pytest.fixture
def meddle():
    """The one way of tests into the training loop: :func:`meddling`."""
    return meddling


@pytest.fixture
def read_in_blocks_of(monkeypatch):
    """Returns a function that sets how many entries are read at a time."""
    from skvardict.rows import rows

    return lambda n_entries: monkeypatch.setattr(rows, "BLOCK_ENTRIES", n_entries)


@pytest.fixture
def held_out_rows(monkeypatch):
    """A list that grows by (rows trained on, rows held out), as numbers, with every fit that holds some out."""
    from skvardict.rows import Rows

    seen, split = [], Rows.split

    def watched(self, *args):
        parts = split(self, *args)
        seen.append(tuple(part.index for part in parts if part is not None))
        return parts

    monkeypatch.setattr(Rows, "split", watched)
    return seen


def pytest_collection_modifyitems(items):
    if torch.cuda.is_available():
        return
    skip = pytest.mark.skip(reason="needs a CUDA device")
    for item in items:
        if "gpu" in item.keywords:
            item.add_marker(skip)


def _global_state():
    return {
        "threads": torch.get_num_threads(),
        "default dtype": torch.get_default_dtype(),
        "determinism": torch.are_deterministic_algorithms_enabled(),
        "TF32": (torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32),
        "precision of products": torch.get_float32_matmul_precision(),
        "cuDNN": (torch.backends.cudnn.deterministic, torch.backends.cudnn.benchmark, torch.backends.cudnn.enabled),
        "threads between operators": torch.get_num_interop_threads(),
        "grad mode": torch.is_grad_enabled(),
        "generator": torch.get_rng_state().numpy().tobytes(),
        "generator of random": random.getstate(),
    }


@pytest.fixture(autouse=True)
def global_torch_state_is_left_alone():
    before = _global_state()
    yield
    after = _global_state()
    changed = [name for name in before if before[name] != after[name]]
    assert not changed, f"the test left torch's global state changed: {changed}"


# Every family of codes, with its priors. A new one joins here, and the tests of models and objectives run on it.
LATENTS = {
    "laplace prior": DenseLatent(Laplace(scale=0.5)),
    "gaussian prior": DenseLatent(Gaussian(scale=0.5)),
    "cauchy prior": DenseLatent(Cauchy(scale=0.5)),
    "student-t prior": DenseLatent(StudentT(scale=0.5)),
    "thresholded": ThresholdedLatent(Thresholded(Laplace(scale=0.5), 0.4), straight_through=True),
    "thresholded, subgradient": ThresholdedLatent(Thresholded(Gaussian(scale=0.5), 0.4), straight_through=False),
    "gamma threshold": ThresholdedLatent(Thresholded(Laplace(scale=0.5), Gamma(3.0, 7.5)), straight_through=True),
    "spike and slab": SpikeAndSlabLatent(SpikeAndSlab(Gaussian(scale=0.5), -0.85)),
}


@pytest.fixture(params=LATENTS.values(), ids=LATENTS.keys())
def latent(request):
    return request.param
