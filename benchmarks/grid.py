"""What a step of one model costs when several are trained together: CPU seconds per member and step.

    python -m benchmarks.grid --results benchmarks/results

Rows of digits (two thirds of them, another draw for every member), 64 components, one thread. M members differ in
alpha, beta, seed and rows. "alone" is the fit of one estimator after the other, in the same process; repetitions are
interleaved and the median is kept.
"""

import argparse
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np
import pandas as pd
import torch
from sklearn.base import clone
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from benchmarks._results import Output
from skvardict import SparseVAE, StandardDictionaryLearning, ThresholdedVSC, VarianceDictionaryLearning
from skvardict.estimators._together import Member, fit_together
from skvardict.networks import MLP
from skvardict.preprocessing import GlobalStandardizer

MODELS = {
    "VDL": VarianceDictionaryLearning(64),
    "SDL": StandardDictionaryLearning(64),
    "SDL online": StandardDictionaryLearning(64, encoder=None),
    "VDL-NL": VarianceDictionaryLearning(64, decoder=MLP((64,))),
    "SparseVAE": SparseVAE(64, encoder=MLP((128,))),
    "ThresholdedVSC": ThresholdedVSC(64, encoder=MLP((128,))),
}
ALPHAS, BETAS = (0.001, 0.002, 0.005, 0.01, 0.02), (1.0, 10.0)


def members(estimator, n_members: int, n_rows: int) -> list[Member]:
    """Return members that differ in weights, seed and rows."""
    made = []
    for number in range(n_members):
        weights = {"alpha": ALPHAS[number % len(ALPHAS)], "beta": BETAS[number // len(ALPHAS) % len(BETAS)]}
        own = {name: value for name, value in weights.items() if name in estimator.get_params()}
        rows = np.random.default_rng(number).permutation(n_rows)[: 2 * n_rows // 3]
        made.append(Member(clone(estimator).set_params(**own, random_state=number), np.sort(rows)))
    return made


def seconds_per_step(fit: Callable[[list[Member]], object], some: list[Member]) -> float:
    """Return CPU seconds per member and step."""
    begin = process_time()
    fit(some)
    return (process_time() - begin) / sum(member.estimator.n_steps_ for member in some)


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--name", default="grid_members")
    parser.add_argument("--models", nargs="*", default=list(MODELS))
    parser.add_argument("--members", nargs="*", type=int, default=[1, 4, 16, 64])
    parser.add_argument("--max-iter", type=int, default=20, help="epochs of ten batches")
    parser.add_argument("--repetitions", type=int, default=5)
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # noqa: TID251
    warnings.simplefilter("ignore")  # of training that ends early
    output = Output(arguments.results, arguments.name, "benchmarks.grid", sys.argv[1:] if argv is None else argv)
    X = GlobalStandardizer().fit_transform(load_digits().data.astype(np.float32))
    rows = []
    for name in arguments.models:
        estimator = MODELS[name].set_params(max_iter=arguments.max_iter)
        clone(estimator).set_params(max_iter=1).fit(X)
        measured: dict[int | str, list[float]] = {"alone": [], **{size: [] for size in arguments.members}}
        for _ in range(arguments.repetitions):
            for size, seconds in measured.items():
                some = members(estimator, 4 if size == "alone" else int(size), len(X))
                seconds.append(seconds_per_step(_fit_alone(X) if size == "alone" else _fit_together(X), some))
        alone = median(measured["alone"])
        rows += [
            {
                "model": name,
                "members": size,
                "us_per_member_and_step": 1e6 * median(each),
                "times": alone / median(each),
            }
            for size, each in measured.items()
        ]
    output.table(pd.DataFrame(rows))


def _fit_alone(X) -> Callable[[list[Member]], object]:
    return lambda some: [member.estimator.fit(X[member.rows]) for member in some]


def _fit_together(X) -> Callable[[list[Member]], object]:
    return lambda some: fit_together(some, X)


if __name__ == "__main__":
    with threadpool_limits(1):
        main()
