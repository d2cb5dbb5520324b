"""What a GPU would be asked to do: launches of kernels and waits of the host, for every kind of estimator.

    python -m benchmarks.launches

Fits run on a pretend GPU (:mod:`benchmarks._pretend_gpu`). What 12 batches take more than 6 is what a batch takes, and
what a second epoch takes beyond its batches is what an epoch takes. "graphs" are operations in graphs that are launched
as one; a "pause" waits for a part of the work, with more of it queued behind, so that the device has something to do.
Times are another matter (:mod:`benchmarks.gpu`). ``launches_before.csv`` is the same of the code before it was made for
one, from 10 and 20 batches.
"""

import argparse
import sys
import warnings
from pathlib import Path
from runpy import run_path

import numpy as np
import pandas as pd

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


def fit_on_gpu(model, n_batches, n_epochs):
    """Return the account of a fit on a pretend GPU."""
    X = np.random.default_rng(0).standard_normal((BATCH_SIZE * n_batches, 12)).astype(np.float32)
    model.set_params(device="cuda", batch_size=BATCH_SIZE, max_iter=n_epochs, early_stopping=False)
    with pretend_gpu() as trace, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(X)
        return {
            "launches": trace.launches,
            "graphs": trace.in_graphs,
            "waits": sum(trace.waits.values()),
            "pauses": sum(trace.pauses.values()),
        }


def row_of(name):
    """Return what a batch and an epoch of a variant take."""
    short, long, twice = (fit_on_gpu(VARIANTS[name](), *size) for size in ((6, 1), (12, 1), (6, 2)))
    batch = {key: (long[key] - short[key]) / 6 for key in short}
    epoch_waits = twice["waits"] - short["waits"] - 6 * batch["waits"]
    return {
        "model": name,
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
        rows.append(row_of(name))
        print(rows[-1], flush=True)
    output.table(pd.DataFrame(rows).round(1), arguments.suffix)


if __name__ == "__main__":
    main()
