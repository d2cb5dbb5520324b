"""Kill a training process at random moments, resume it, and compare the result bitwise with an uninterrupted fit.

For every model: one fit without interruption; then ``--kills`` times a process that fits with a checkpoint is killed
(SIGKILL) after a random step and some milliseconds, and another one makes the same call. Each must end with the
parameters, training state and history (but for the clock) of the uninterrupted fit.

    OMP_NUM_THREADS=1 python -m benchmarks.kill_and_resume --kills 25
"""

import argparse
import hashlib
import json
import os
import signal
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

import skvardict
import skvardict.training.loop as loop
from skvardict.networks import MLP

MODELS = {
    "VDL linear": ("VarianceDictionaryLearning", {"n_components": 32, "max_iter": 12}),
    "VDL mlp": (
        "VarianceDictionaryLearning",
        {"n_components": 24, "max_iter": 8, "decoder": MLP((64,))},
    ),
    "SparseVAE": ("SparseVAE", {"n_components": 32, "max_iter": 12, "encoder": MLP((64, 64))}),
    "ThresholdedVSC": (
        "ThresholdedVSC",
        {"n_components": 32, "max_iter": 12, "n_draws": 5, "encoder": MLP((64, 64))},
    ),
    "SpikeAndSlabVSC": (
        "SpikeAndSlabVSC",
        {"n_components": 32, "max_iter": 12, "n_draws": 5, "encoder": MLP((64, 64))},
    ),
}


def data() -> np.ndarray:
    """Return rows with a few planted directions."""
    rng = np.random.default_rng(0)
    X = np.maximum(rng.standard_normal((2500, 20)), 0) @ rng.standard_normal((20, 64))
    return (X / np.sqrt((X**2).mean())).astype(np.float32)


def digest(model) -> str:
    """Return a hash of everything that a fit leaves, but for the clock."""
    sha256 = hashlib.sha256()
    for state in (model.params_, model._train_state):
        for name in sorted(state):
            sha256.update(name.encode() + state[name].tobytes())
    history = {name: values for name, values in model.history_.items() if name != "seconds"}
    sha256.update(json.dumps([history, model.best_epoch_, model.n_iter_, model.n_steps_]).encode())
    return sha256.hexdigest()


def fit(name: str, rows: np.ndarray, checkpoint: Path | None, kill_at: tuple[int, float] | None = None) -> dict | None:
    """Fit in a process of its own; return what it reports, or None if it was killed first.

    The process is forked before any computation, and tells of every step; `kill_at` is a number of steps and the
    seconds that pass after it.
    """
    receive, send = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(receive)
        warnings.simplefilter("ignore")
        with open(os.devnull, "w") as sys.stdout, os.fdopen(send, "wb", buffering=0) as report:
            estimator, parameters = MODELS[name]
            model = getattr(skvardict, estimator)(**parameters, batch_size=100, early_stopping=True, random_state=0)
            original = loop._step

            def step(*args):
                result = original(*args)
                report.write(b".")
                return result

            loop._step = step
            begin = time.perf_counter()
            model.fit(rows, checkpoint=checkpoint)
            result = {
                "digest": digest(model),
                "resumed": model.resumed_epoch_,
                "steps": model.n_steps_,
                "seconds": time.perf_counter() - begin,
            }
            report.write(b"\n" + json.dumps(result).encode())
        os._exit(0)
    os.close(send)
    with os.fdopen(receive, "rb") as report:
        if kill_at is not None:
            report.read(kill_at[0])
            time.sleep(kill_at[1])
            os.kill(pid, signal.SIGKILL)
        text = report.read().partition(b"\n")[2]
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status) and not text:
        return None
    return json.loads(text)


def show(name: str, n_kills: int, rng: np.random.Generator) -> bool:
    """Kill and resume fits of one model; return whether all of them ended as the uninterrupted one."""
    rows = data()
    expected = fit(name, rows, None)
    assert expected is not None
    resumed: list[int] = []
    n_equal = 0
    while len(resumed) < n_kills:
        with tempfile.TemporaryDirectory() as folder:
            checkpoint = Path(folder) / "run"
            if (
                fit(name, rows, checkpoint, kill_at=(int(rng.integers(expected["steps"])), rng.uniform(0, 0.05)))
                is not None
            ):
                continue  # it had ended before
            result = fit(name, rows, checkpoint)
            assert result is not None
            resumed.append(result["resumed"])
            n_equal += result["digest"] == expected["digest"]
    print(
        f"{name}: {n_equal} of {n_kills} killed and resumed fits bitwise equal to the uninterrupted one "
        f"({expected['seconds']:.1f} s); resumed after epochs {sorted(resumed)}",
        flush=True,
    )
    return n_equal == n_kills


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=25)
    parser.add_argument("--models", nargs="*", default=None)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    available = [name for name, (estimator, _) in MODELS.items() if hasattr(skvardict, estimator)]
    rng = np.random.default_rng(arguments.seed)
    results = [show(name, arguments.kills, rng) for name in arguments.models or available]
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
