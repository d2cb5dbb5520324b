"""What a GPU would be asked to do: launches of kernels and waits of the host, for every kind of estimator.

    python -m benchmarks.launches

Fits run on a pretend GPU (:mod:`benchmarks._pretend_gpu`), on rows that lie on the device and on rows of an array. What
20 batches take more than 10 is what a batch takes, and what a second epoch takes beyond its batches is what an epoch
takes. "graphs" are operations in graphs that are launched as one; a "pause" waits for a part of the work, with more of
it queued behind, so that the device has something to do. No GPU has been asked how long anything takes.
"""

import argparse
import sys
import warnings
from pathlib import Path
from runpy import run_path

import numpy as np
import pandas as pd
import torch

from benchmarks._pretend_gpu import pretend_gpu
from benchmarks._results import Output
from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning, WeightDecayDictionaryLearning
from skvardict.networks import MLP
from skvardict.recipes import table3
from skvardict.solvers import FISTA, ISTA, ActiveSetADMM

BATCH_SIZE = 20
VARIANTS = run_path(str(Path(__file__).parents[1] / "tests" / "common" / "test_all_estimators.py"))["VARIANTS"] | {
    "VDL, the paper's": lambda **kw: table3("VDL", "mnist", alpha=0.02, **{"n_components": 5, "random_state": 0, **kw}),
    "VDL-NL, the paper's": lambda **kw: table3(
        "VDL-NL",
        "mnist",
        alpha=0.02,
        **{"n_components": 5, "random_state": 0, "decoder": MLP((8,)), "solver": FISTA(step_size=1e-2), **kw},
    ),
    "VDL by backtracking": lambda **kw: VarianceDictionaryLearning(
        **{"n_components": 5, "random_state": 0, "solver": FISTA(step_size="backtracking", restart=True), **kw}
    ),
    "SDL by ISTA": lambda **kw: StandardDictionaryLearning(
        **{"n_components": 5, "random_state": 0, "solver": ISTA(), **kw}
    ),
    "DO by active sets": lambda **kw: StandardDictionaryLearning(
        **{"n_components": 5, "random_state": 0, "encoder": None, "solver": ActiveSetADMM(), **kw}
    ),
    "WDL-NL": lambda **kw: WeightDecayDictionaryLearning(
        **{"n_components": 5, "random_state": 0, "decoder": MLP((8,)), **kw}
    ),
}


def fit_on_gpu(model, n_batches, n_epochs, *, on_device):
    """Return the account of a fit on a pretend GPU."""
    X = np.random.default_rng(0).standard_normal((BATCH_SIZE * n_batches, 12)).astype(np.float32)
    model.set_params(device="cuda", batch_size=BATCH_SIZE, max_iter=n_epochs, early_stopping=False)
    with pretend_gpu() as trace, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(torch.from_numpy(X).to("cuda") if on_device else X)
        return {
            "launches": trace.launches,
            "graphs": trace.in_graphs,
            "waits": sum(trace.waits.values()),
            "pauses": sum(trace.pauses.values()),
        }


def row_of(name, *, on_device):
    """Return what a batch and an epoch of a variant take."""
    short, long, twice = (
        fit_on_gpu(VARIANTS[name](), *size, on_device=on_device) for size in ((10, 1), (20, 1), (10, 2))
    )
    batch = {key: (long[key] - short[key]) / 10 for key in short}
    epoch_waits = twice["waits"] - short["waits"] - 10 * batch["waits"]
    return {
        "model": name,
        "rows": "on the device" if on_device else "array",
        **{f"{key} a batch": value for key, value in batch.items()},
        "waits an epoch": max(epoch_waits, 0),
    }


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", nargs="*", default=list(VARIANTS))
    parser.add_argument("--suffix", default="")
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args(arguments)
    output = Output(arguments.results, "launches", "benchmarks.launches", sys.argv[1:])
    rows = []
    for name in arguments.models:
        for on_device in (True, False):
            rows.append(row_of(name, on_device=on_device))
            print(rows[-1], flush=True)
    output.table(pd.DataFrame(rows).round(1), arguments.suffix)


if __name__ == "__main__":
    main()
