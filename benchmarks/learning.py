"""Time to quality of dictionary learning, side by side in one process on one thread.

    python -m benchmarks.learning --seconds 30

The problem is scikit-learn's and SPAMS's: atoms of norm 1, codes by the lasso. Every method's dictionary is looked at
as it learns (the clock stands still meanwhile), and scored by the objective of *exact* codes of held-out rows,
``mean 1/d |x - z D|^2 + alpha |z|_1``. Printed per data set: seconds of CPU time until a method is within 3 % and 1 %
of the best value that anyone reaches, and its last value relative to that. Needs ``pip install spams-bin`` for SPAMS,
whose `trainDL` shows nothing while it runs: it is run anew for every budget.
"""

import argparse
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import process_time
from typing import NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import DictionaryLearning, MiniBatchDictionaryLearning
from sklearn.exceptions import ConvergenceWarning
from threadpoolctl import threadpool_limits

from benchmarks._results import Output
from skvardict import StandardDictionaryLearning, sparse_encode
from skvardict.datasets import fetch_mnist, load_natural_patches
from skvardict.energies import to_sklearn_alpha
from skvardict.training import Adam, TrainingSession

try:
    import spams
except ImportError:
    spams = None

Snapshots = list[tuple[float, NDArray]]


class Problem(NamedTuple):
    """Training and held-out rows, and what is learnt from them."""

    X: NDArray
    held_out: NDArray
    n_components: int
    alpha: float
    positive: bool


class _TimeIsUp(BaseException):
    pass


class Clock:
    """CPU seconds since the beginning, without those spent looking."""

    def __init__(self, budget: float):
        self.budget, self.snapshots, self.begin, self.next = budget, [], process_time(), 0.0

    def look(self, get_dictionary: Callable[[], NDArray]) -> None:
        """Keep a copy of the dictionary, at times that grow geometrically; end the run when time is up."""
        now = process_time()
        elapsed = now - self.begin
        if elapsed >= self.next:
            self.snapshots.append((elapsed, np.array(get_dictionary(), copy=True)))
            self.next = 1.15 * elapsed
            self.begin += process_time() - now
        if elapsed > self.budget:
            raise _TimeIsUp


def load(name: str) -> Problem:
    """Return a problem by name."""
    rng = np.random.RandomState(0)
    if name == "digits":
        X = load_digits().data
        X = ((X - X.mean()) / X.std()).astype(np.float32)[rng.permutation(len(X))]
        return Problem(X[:1437], X[1437:], 64, 0.02, True)
    if name == "mnist":
        X = fetch_mnist("train").data
        return Problem(X[rng.permutation(len(X))[:20_000]], fetch_mnist("test").data[:2000], 128, 0.01, True)
    rows, held_out = (
        load_natural_patches(n, (8, 8), split=split, random_state=seed).data
        for n, split, seed in ((50_000, "train", 0), (5000, "val", 1))
    )
    rows, held_out = (X - X.mean(1, keepdims=True) for X in (rows, held_out))
    scale = rows.std()
    return Problem(*((X / scale).astype(np.float32) for X in (rows, held_out)), 256, 0.02, name == "patches_positive")


def score(dictionary: NDArray, problem: Problem) -> float:
    """Return the objective of exact codes of the held-out rows; atoms are brought to norm 1."""
    atoms = np.asarray(dictionary, dtype=np.float64)
    norms = np.linalg.norm(atoms, axis=1, keepdims=True)
    atoms = atoms / np.where(norms > 0, norms, 1)
    X = problem.held_out.astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        codes = sparse_encode(X, atoms, alpha=problem.alpha, positive=problem.positive, tol=1e-5)
    return float((((X - codes @ atoms) ** 2).mean(1) + problem.alpha * np.abs(codes).sum(1)).mean())


@contextmanager
def watching(clock: Clock) -> Iterator[None]:
    """Look at our dictionary after every step."""
    advance = TrainingSession.advance

    def look_and_advance(self, *arguments):
        clock.look(lambda: self.objective.model.decoder.components.detach().numpy())
        return advance(self, *arguments)

    TrainingSession.advance = look_and_advance  # type: ignore[method-assign]
    try:
        yield
    finally:
        TrainingSession.advance = advance  # type: ignore[method-assign]


def ours(problem: Problem, budget: float, **changes) -> Snapshots:
    """Return the course of our decoder-only model."""
    settings = {"alpha": problem.alpha, "encoder": None, "positive_code": problem.positive, "early_stopping": False}
    clock = Clock(budget)
    with watching(clock):
        try:
            model = StandardDictionaryLearning(
                problem.n_components, **{**settings, "random_state": 0, "max_iter": 10**6, **changes}
            )
            clock.begin = process_time()
            model.fit(problem.X)
            clock.snapshots.append((process_time() - clock.begin, model.components_))
        except _TimeIsUp:
            pass
    return clock.snapshots


def scikit_learn(cls, problem: Problem, budget: float, **changes) -> Snapshots:
    """Return the course of one of scikit-learn's estimators."""
    clock = Clock(budget)
    model = cls(
        problem.n_components,
        alpha=to_sklearn_alpha(problem.alpha, problem.X.shape[1]),
        fit_algorithm="cd",
        transform_algorithm="lasso_cd",
        positive_code=problem.positive,
        callback=lambda state: clock.look(lambda: state["dictionary"]),
        random_state=0,
        max_iter=10**6,
        **changes,
    )
    clock.begin = process_time()
    with suppress(_TimeIsUp), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # codes of single batches, thousands of them
        model.fit(problem.X)
    return clock.snapshots


def spams_train(problem: Problem, budget: float) -> Snapshots:
    """Return the dictionaries of runs of SPAMS with more and more iterations."""
    X, snapshots, n_iter = np.asfortranarray(problem.X.T), [], 4
    while True:
        np.random.seed(0)  # noqa: NPY002
        begin = process_time()
        atoms = spams.trainDL(
            X,
            K=problem.n_components,
            lambda1=to_sklearn_alpha(problem.alpha, problem.X.shape[1]),
            mode=2,
            posAlpha=problem.positive,
            iter=n_iter,
            numThreads=1,
            batchsize=400,
            verbose=False,
        )
        seconds = process_time() - begin
        snapshots.append((seconds, np.array(atoms.T)))
        if seconds > budget / 1.5:
            return snapshots
        n_iter = int(np.ceil(1.5 * n_iter))


def methods(problem: Problem) -> dict[str, Callable[[float], Snapshots]]:
    """Return what is compared."""
    compared: dict[str, Callable[[float], Snapshots]] = {
        "skvardict, default": lambda seconds: ours(problem, seconds),
        "skvardict, default budget": lambda seconds: ours(problem, seconds, max_iter="auto"),
        "skvardict, Adam": lambda seconds: ours(problem, seconds, optimizer=Adam(1e-2), batch_size=250),
        "scikit-learn MiniBatch": lambda seconds: scikit_learn(
            MiniBatchDictionaryLearning, problem, seconds, max_no_improvement=None, tol=0.0
        ),
    }
    if len(problem.X) < 5000:
        compared["scikit-learn batch"] = lambda seconds: scikit_learn(DictionaryLearning, problem, seconds, tol=0.0)
    if spams is not None:
        compared["SPAMS"] = lambda seconds: spams_train(problem, seconds)
    return compared


def time_to(curve: list[tuple[float, float]], target: float) -> float:
    """Return when a curve first is at or below `target`, infinity if never."""
    return min((seconds for seconds, value in curve if value <= target), default=np.inf)


def compare(name: str, budget: float) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the table of one problem, and all curves."""
    problem = load(name)
    curves = {}
    for method, run in methods(problem).items():
        curves[method] = [(seconds, score(atoms, problem)) for seconds, atoms in run(budget)]
        print(f"{name}, {method}: {curves[method][-1][1]:.5f} after {curves[method][-1][0]:.1f} s", flush=True)
    best = min(value for curve in curves.values() for _, value in curve)
    table = pd.DataFrame(
        {
            "data": name,
            "method": method,
            "seconds_within_3_percent": time_to(curve, 1.03 * best),
            "seconds_within_1_percent": time_to(curve, 1.01 * best),
            "seconds": curve[-1][0],
            "end_above_best_percent": 100 * (curve[-1][1] / best - 1),
        }
        for method, curve in curves.items()
    )
    points = [(name, method, *point) for method, curve in curves.items() for point in curve]
    return table, pd.DataFrame(points, columns=["data", "method", "seconds", "objective"])


def draw(points: pd.DataFrame):
    """Return a figure with a panel per data set."""
    import matplotlib.pyplot as plt  # noqa: TID251

    names = points["data"].unique()
    figure, axes = plt.subplots(1, len(names), figsize=(4.2 * len(names), 3.4), squeeze=False, layout="constrained")
    for ax, name in zip(axes.flat, names):
        part = points[points["data"] == name]
        best = part["objective"].min()
        for method, curve in part.groupby("method", sort=False):
            ax.plot(curve["seconds"], 100 * (curve["objective"] / best - 1), label=method)
        ax.set(
            xscale="log", title=name, xlabel="CPU seconds", ylabel="held-out objective above the best (%)", ylim=(0, 12)
        )
    axes.flat[0].legend(fontsize=7)
    return figure


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=["digits", "mnist", "patches", "patches_positive"])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # noqa: TID251
    output = Output(arguments.results, "learning", "benchmarks.learning", sys.argv[1:] if argv is None else argv)
    with threadpool_limits(1):
        tables, points = zip(*(compare(name, arguments.seconds) for name in arguments.data))
    output.table(pd.concat(points), "_curves")
    output.table(pd.concat(tables))
    output.figure(draw(pd.concat(points)))


if __name__ == "__main__":
    main()
