"""A grid over alpha and beta: all models as one program, one after the other, and beside scikit-learn's dictionaries.

    python -m benchmarks.grid_search --data digits --results benchmarks/results
    python -m benchmarks.grid_search --data mnist --name grid_search_mnist --results benchmarks/results

Standardised rows, codes of 64 components, logistic regression; 5 alphas x 2 betas x 3 folds and the last fit, with
`BatchedGridSearchCV` and with `GridSearchCV`, and as many candidates of scikit-learn's MiniBatchDictionaryLearning (ten
alphas). A row per search: seconds, and the best accuracy. "raw" are the rows without a dictionary, "PCA" and "random"
(rectified random features) codes of the same size: what a dictionary has to beat. One process, one thread; 10,000 rows
of MNIST also with ``n_jobs=2``, two processes of one thread: compare with the batched search and ``--threads 2``.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from time import perf_counter, process_time
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA, MiniBatchDictionaryLearning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer
from threadpoolctl import threadpool_limits

from benchmarks._results import Output
from skvardict import VarianceDictionaryLearning
from skvardict.datasets import fetch_mnist
from skvardict.model_selection import BatchedGridSearchCV
from skvardict.preprocessing import GlobalStandardizer

N_COMPONENTS = 64
ALPHAS = (0.001, 0.002, 0.005, 0.01, 0.02)
BETAS = (1.0, 10.0)
OTHER_ALPHAS = tuple(np.geomspace(0.1, 2, len(ALPHAS) * len(BETAS)))  # around its default of 1


def load(name: str, n_rows: int) -> tuple[NDArray, NDArray]:
    """Return rows and labels."""
    if name == "digits":
        return load_digits(return_X_y=True)
    mnist = fetch_mnist("train")
    return mnist.data[:n_rows], mnist.target[:n_rows]


def searches(n_features: int, max_iter: Any) -> dict[str, Callable[[], GridSearchCV]]:
    """Return what is compared, by name."""
    folds = StratifiedKFold(3, shuffle=True, random_state=0)
    coder = VarianceDictionaryLearning(N_COMPONENTS, max_iter=max_iter, random_state=0)
    grid = {"coder__alpha": ALPHAS, "coder__beta": BETAS}
    other = MiniBatchDictionaryLearning(N_COMPONENTS, transform_algorithm="lasso_cd", random_state=0)
    other_grid = {"coder__alpha": OTHER_ALPHAS}
    random = np.random.default_rng(0).standard_normal((n_features, N_COMPONENTS)) / np.sqrt(n_features)
    rectified = FunctionTransformer(lambda X: np.maximum(X @ random, 0))
    return {
        "BatchedGridSearchCV": lambda: BatchedGridSearchCV(_pipeline(coder), grid, cv=folds),
        "GridSearchCV": lambda: GridSearchCV(_pipeline(coder), grid, cv=folds),
        "GridSearchCV, n_jobs=2": lambda: GridSearchCV(_pipeline(coder), grid, cv=folds, n_jobs=2),
        "MiniBatchDictionaryLearning": lambda: GridSearchCV(_pipeline(other), other_grid, cv=folds),
        "PCA": lambda: GridSearchCV(_pipeline(PCA(N_COMPONENTS - 1)), {"clf__C": [1.0]}, cv=folds),
        "random": lambda: GridSearchCV(_pipeline(rectified), {"clf__C": [1.0]}, cv=folds),
        "raw": lambda: GridSearchCV(_pipeline("passthrough"), {"clf__C": [1.0]}, cv=folds),
    }


def _pipeline(coder: Any) -> Pipeline:
    classifier = LogisticRegression(max_iter=2000)
    return Pipeline([("scale", GlobalStandardizer()), ("coder", coder), ("clf", classifier)])


def measure(search: GridSearchCV, X: NDArray, y: NDArray) -> dict[str, Any]:
    """Return time, best score and parameters of a search."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of training that ends early; accuracies say what it costs
        begin, begin_cpu = perf_counter(), process_time()
        search.fit(X, y)
    return {
        "seconds": perf_counter() - begin,
        "cpu_seconds": process_time() - begin_cpu,  # of this process
        "n_fits": len(search.cv_results_["params"]) * search.n_splits_ + 1,
        "best_accuracy": search.best_score_,
        "best_params": ", ".join(f"{name}={value:.3g}" for name, value in search.best_params_.items()),
    }


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--name", default="grid_search")
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits")
    parser.add_argument("--n-rows", type=int, default=10_000, help="of MNIST")
    parser.add_argument("--max-iter", type=int, help="epochs of VarianceDictionaryLearning; its own choice by default")
    parser.add_argument("--repetitions", type=int, default=1, help="the median is kept")
    parser.add_argument("--searches", nargs="*", help="names; all that fit the data by default")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(arguments.threads)  # noqa: TID251
    output = Output(arguments.results, arguments.name, "benchmarks.grid_search", sys.argv[1:] if argv is None else argv)
    X, y = load(arguments.data, arguments.n_rows)
    compared = searches(X.shape[1], arguments.max_iter or "auto")
    if arguments.data == "digits":
        del compared["GridSearchCV, n_jobs=2"]
    names = arguments.searches or list(compared)
    rows = []
    with threadpool_limits(arguments.threads):
        VarianceDictionaryLearning(4, max_iter=1, random_state=0).fit(np.eye(20, dtype=np.float32) * 4)  # first imports
        for repetition in range(arguments.repetitions):
            for name in names:
                row = {"data": arguments.data, "search": name, **measure(compared[name](), X, y)}
                rows.append({**row, "repetition": repetition, "n_threads": arguments.threads})
                print(rows[-1], flush=True)
    table = pd.DataFrame(rows)
    kept = table.groupby(["data", "search", "n_threads"], sort=False)
    seconds = kept[["seconds", "cpu_seconds"]].median()
    rest = kept[["n_fits", "best_accuracy", "best_params"]].first()
    result = seconds.join(rest).reset_index()
    result.insert(4, "times_batched", result["seconds"] / result["seconds"].iloc[0])
    output.table(result)


if __name__ == "__main__":
    main()
