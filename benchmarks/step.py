"""What a training step and a row cost beyond their arithmetic: operations, and time over that of the matrix products.

    OMP_NUM_THREADS=1 python -m benchmarks.step

Operations are those that torch dispatches in a batch, forward, backward and optimiser together. The matrix products of
a batch are recorded with their operands and made again by themselves; the ratio is the processor time of the step over
theirs, in turn in one process. Codes of one row are compared with scikit-learn's PCA of as many components.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks._results import Output
from skvardict import SparseVAE, StandardDictionaryLearning, ThresholdedVSC, VarianceDictionaryLearning
from skvardict.datasets import fetch_mnist
from skvardict.estimators._training import open_session
from skvardict.networks import MLP
from skvardict.preprocessing import GlobalStandardizer
from skvardict.recipes import table3
from skvardict.rows import Rows
from skvardict.training.loop import _step

PRODUCTS = {"mm", "addmm", "bmm", "baddbmm", "linalg_cholesky_ex", "cholesky_inverse"}  # and what else is cubic
N_BATCHES, N_BEFORE = 8, 60  # measured, and trained before so that codes are as sparse as they get
MODELS = {
    "VDL": lambda atoms, **kw: VarianceDictionaryLearning(atoms, **kw),
    "VDL, paper's": lambda atoms, **kw: table3("VDL", "mnist", alpha=0.02, n_components=atoms, **kw),
    "SDL": lambda atoms, **kw: StandardDictionaryLearning(atoms, **kw),
    "SDL, online": lambda atoms, **kw: StandardDictionaryLearning(atoms, encoder=None, **kw),
    "SparseVAE": lambda atoms, **kw: SparseVAE(atoms, **kw),
    "ThresholdedVSC": lambda atoms, **kw: ThresholdedVSC(atoms, encoder=MLP((512, 1024, 512, 256)), **kw),
    "VDL-NL, paper's": lambda atoms, **kw: table3("VDL-NL", "mnist", alpha=0.02, n_components=atoms, **kw),
}
CODERS = {
    "VDL": lambda: VarianceDictionaryLearning(32, max_iter=3, random_state=0),
    "SparseVAE": lambda: SparseVAE(32, max_iter=3, random_state=0, transform_algorithm="mean"),
}


class Recorder(TorchDispatchMode):
    """Counts operations, and keeps the matrix products with their operands."""

    def __init__(self):
        super().__init__()
        self.counts, self.products = Counter(), []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        self.counts[name] += 1
        if name.rstrip("_") in PRODUCTS and min(args[0].shape) > 1:
            self.products.append((func, args, kwargs or {}))
        return func(*args, **(kwargs or {}))


def build_session(model, X):
    """Return a session of `model` on `X`, and the batches that are measured, after some training."""
    rows = Rows.check(model, X, reset=True)
    plan = model._plan(len(X))
    session = open_session(model, rows, plan, continued=False, seed=0)
    batches = list(rows.shuffled(plan.batch_size, session.generator))
    while len(batches) < N_BATCHES:
        batches += rows.shuffled(plan.batch_size, session.generator)
    for index in range(N_BEFORE):
        make_steps(session, [batches[index % len(batches)]])
    return session, batches[:N_BATCHES]


def make_steps(session, batches, sums=None):
    """Make one step for each of the batches, as the loop does."""
    for batch in batches:
        session.advance(0.5, 10)
        _step(session, batch, {} if sums is None else sums)


def processor_times(functions, repeats):
    """Return the least processor time of each function, called in turn `repeats` times."""
    times = np.empty((repeats, len(functions)))
    for row in times:
        for column, function in enumerate(functions):
            begin = process_time()
            function()
            row[column] = process_time() - begin
    return times.min(0)


def step_row(build, X, atoms, repeats, **parameters):
    """Return operations, milliseconds of a step and of its products, and their ratio."""
    session, batches = build_session(build(atoms, random_state=0, **parameters), X)
    with Recorder() as recorder:
        make_steps(session, batches, {})

    @torch.no_grad()
    def products():
        for func, args, kwargs in recorder.products:
            func(*args, **kwargs)

    seconds = processor_times([lambda: make_steps(session, batches, {}), products], repeats)
    step, alone = seconds / len(batches) * 1e3
    return {
        "batch": len(batches[0]),
        "operations": sum(recorder.counts.values()) / len(batches),
        "products": len(recorder.products) / len(batches),
        "step_ms": step,
        "products_ms": alone,
        "ratio": step / alone,
    }


def row_table(X, repeats):
    """Return microseconds of `transform` of one row, and their ratio to PCA's."""
    models = {"PCA": PCA(32).fit(X), **{name: build().fit(X) for name, build in CODERS.items()}}
    one = X[:1]

    def calls(model):
        for _ in range(200):
            model.transform(one)

    for model in models.values():
        calls(model)
    seconds = processor_times([lambda model=model: calls(model) for model in models.values()], repeats)
    table = pd.DataFrame({"model": list(models), "data": "digits, one row", "step_ms": seconds / 200 * 1e3})
    table["ratio"] = seconds / seconds[0]
    return table


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    output = Output(arguments.results, "step", "benchmarks.step", sys.argv[1:])
    torch.set_num_threads(1)  # noqa: TID251  a benchmark pins its threads
    with threadpool_limits(1):
        mnist, _ = fetch_mnist("train", return_X_y=True)
        digits = GlobalStandardizer().fit_transform(load_digits().data.astype(np.float32))
        rows = []
        for name in arguments.models:
            for data, X, atoms, parameters in (
                ("MNIST", mnist[:5000], 128, {"batch_size": 250}),
                ("digits", digits, 64, {}),
            ):
                measured = step_row(MODELS[name], X, atoms, arguments.repeats, **parameters)
                rows.append({"model": name, "data": data, **measured})
                print(pd.DataFrame(rows[-1:]).round(3).to_string(index=False, header=len(rows) == 1), flush=True)
        table = pd.concat([pd.DataFrame(rows), row_table(digits, arguments.repeats)])
    output.table(table.round(3))


if __name__ == "__main__":
    main()
