"""Imputation of missing entries by masked dictionary learning beside scikit-learn's imputers, on digits.

    python -m benchmarks.missing_values

Entries are taken out at random; each method fills them in, and the root mean square error over them is compared. The
number of neighbours and alpha are those that are best on a tenth of the observed entries, held out.
"""

import argparse
import sys
import warnings
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch
from sklearn.datasets import load_digits
from sklearn.exceptions import ConvergenceWarning
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer

from benchmarks._results import Output
from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning


def methods():
    """Return, by name, functions from rows with NaN to rows without; several per name: settings to choose from."""

    def by_codes(estimator, alpha, **arguments):
        model = estimator(64, alpha=alpha, missing="mask", random_state=0, **arguments)
        return lambda X: model.fit(X).reconstruct(X)

    signed = {"encoder": None, "positive_code": False}
    return {
        "mean": [SimpleImputer().fit_transform],
        "nearest neighbours": [KNNImputer(n_neighbors=n).fit_transform for n in (3, 5, 10)],
        "iterative regression": [IterativeImputer(max_iter=10, random_state=0).fit_transform],
        "masked dictionary (StandardDictionaryLearning)": [
            by_codes(StandardDictionaryLearning, alpha, **signed) for alpha in (0.01, 0.02, 0.05)
        ],
        "masked, with encoder (VarianceDictionaryLearning)": [
            by_codes(VarianceDictionaryLearning, alpha) for alpha in (0.01, 0.02, 0.05)
        ],
    }


def error(filled, X, where):
    """Return the root mean square error over some entries."""
    return float(np.sqrt(np.mean((filled[where] - X[where]) ** 2)))


def best_of(settings, X, missing, rng):
    """Return the setting whose error is least on a tenth of the observed entries."""
    if len(settings) == 1:
        return settings[0]
    held_out = ~missing & (rng.uniform(size=X.shape) < 0.1)
    hidden = np.where(missing | held_out, np.nan, X)
    return min(settings, key=lambda fill: error(fill(hidden), X, held_out))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--missing", type=float, nargs="*", default=[0.2])
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # noqa: TID251  a benchmark pins its threads
    warnings.simplefilter("ignore", ConvergenceWarning)
    output, rows = Output(arguments.results, "missing_values", "benchmarks.missing_values", sys.argv[1:]), []
    X = load_digits().data.astype(np.float32)
    X = X[:, X.std(axis=0) > 0.5]  # without the border, which is always black
    X = (X - X.mean(axis=0)) / X.std()
    for share in arguments.missing:
        rng = np.random.default_rng(0)
        missing = rng.uniform(size=X.shape) < share
        for name, settings in methods().items():
            fill = best_of(settings, X, missing, np.random.default_rng(1))
            begin = process_time()
            rmse = error(fill(np.where(missing, np.nan, X)), X, missing)
            rows.append({"missing": share, "method": name, "rmse": rmse, "cpu_seconds": process_time() - begin})
        output.table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
