"""What a user gets without choosing anything: default estimators on seven data sets, beside PCA, NMF and MiniBatch.

    python -m benchmarks.defaults --results benchmarks/results

A row per data set and model: R^2 of the reconstruction from codes, share of exact zeros, cross-validated accuracy of
logistic regression on the codes (as they are, and standardised), seconds of one fit, warnings. "raw" are the rows
themselves, "random" are rectified random features, as many as a code has: what a claim has to beat. One thread.
"""

import argparse
import sys
import warnings
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_breast_cancer, load_digits, load_iris, load_wine
from sklearn.decomposition import NMF, PCA, MiniBatchDictionaryLearning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from threadpoolctl import threadpool_limits

from benchmarks._results import Output
from skvardict import StandardDictionaryLearning, VarianceDictionaryLearning
from skvardict.datasets import fetch_mnist, load_whitened_patches, make_sparse_coded_signals
from skvardict.preprocessing import GlobalStandardizer

N_FOLDS = 5
RECOVERED = 0.95  # |cos| from which an atom counts as found


class Data(NamedTuple):
    """Rows, labels (None: not a classification), true atoms (None: unknown), and the length of codes."""

    X: NDArray
    y: NDArray | None
    atoms: NDArray | None
    n_components: int


def load_all() -> dict[str, Data]:
    """Return the data sets, in the scale that the estimators expect."""
    tables = {"iris": load_iris, "wine": load_wine, "breast cancer": load_breast_cancer}
    data = {}
    for name, load in tables.items():
        X, y = load(return_X_y=True)
        data[name] = Data(StandardScaler().fit_transform(X), y, None, X.shape[1])
    X, y = load_digits(return_X_y=True)
    data["digits"] = Data(GlobalStandardizer().fit_transform(X), y, None, 64)
    mnist = fetch_mnist("train")
    data["1,000 MNIST rows"] = Data(mnist.data[:1000], mnist.target[:1000], None, 128)
    patches = load_whitened_patches(10_000, (8, 8), random_state=0).data
    data["whitened patches"] = Data(GlobalStandardizer().fit_transform(patches), None, None, 64)
    X, _, atoms = make_sparse_coded_signals(n_samples=500, n_components=32, n_features=64, n_nonzero=4, random_state=0)
    data["planted"] = Data((X / X.std()).astype(np.float32), None, atoms, 32)
    return data


def models(n_components: int, X: NDArray) -> dict[str, Any]:
    """Return all models with codes of `n_components`, at their defaults."""
    # NMF needs non-negative rows; scikit-learn's dictionaries have the alpha of their default and no sign.
    shift = -min(float(X.min()), 0.0)
    return {
        "VDL": VarianceDictionaryLearning(n_components, random_state=0),
        "SDL": StandardDictionaryLearning(n_components, random_state=0),
        "DO": StandardDictionaryLearning(n_components, encoder=None, random_state=0),
        "PCA": PCA(min(n_components, *X.shape), random_state=0),
        "NMF": make_pipeline(_Shift(shift), NMF(n_components, max_iter=500, random_state=0)),
        "MiniBatch": MiniBatchDictionaryLearning(n_components, transform_algorithm="lasso_cd", random_state=0),
    }


class _Shift(GlobalStandardizer):
    """Adds a constant, so that rows are not negative."""

    def __init__(self, constant: float = 0.0):
        super().__init__()
        self.constant = constant

    def fit(self, X, y=None):
        self.n_features_in_ = X.shape[1]
        return self

    def transform(self, X):
        return np.maximum(X + self.constant, 0)

    def inverse_transform(self, X):
        return X - self.constant

    def __sklearn_is_fitted__(self) -> bool:
        return True


def measure(model, data: Data) -> dict[str, Any]:
    """Return the row of one model."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        begin = process_time()
        codes = model.fit(data.X).transform(data.X)
        seconds = process_time() - begin
    reconstruction = model.inverse_transform(codes)
    residual = ((data.X - reconstruction) ** 2).sum()
    last = model[-1] if hasattr(model, "steps") else model
    ours = [
        str(item.message) for item in caught if "skvardict" in str(item.filename) or "Learning" in str(item.message)
    ]
    return {
        "r2": 1 - residual / ((data.X - data.X.mean(0)) ** 2).sum(),
        "zeros": float((codes == 0).mean()),
        **accuracies(codes, data.y),
        "recovered": np.nan if data.atoms is None else recovered(last.components_, data.atoms),
        "seconds": seconds,
        "warnings": " | ".join(ours)[:200],
    }


def accuracies(codes: NDArray, y: NDArray | None) -> dict[str, float]:
    """Return the accuracy of logistic regression on codes as they are and standardised."""
    if y is None:
        return {"accuracy": np.nan, "accuracy_scaled": np.nan}
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=0)
    classifier = LogisticRegression(max_iter=2000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        plain = cross_val_score(classifier, codes, y, cv=folds).mean()
        scaled = cross_val_score(make_pipeline(StandardScaler(), classifier), codes, y, cv=folds).mean()
    return {"accuracy": plain, "accuracy_scaled": scaled}


def recovered(components: NDArray, atoms: NDArray) -> float:
    """Return the share of true atoms that some learnt atom points along."""
    learnt, true = (
        rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12) for rows in (components, atoms)
    )
    return float((np.abs(learnt @ true.T).max(0) > RECOVERED).mean())


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results"))
    parser.add_argument("--data", nargs="*", help="names of data sets; all by default")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)  # noqa: TID251
    output = Output(arguments.results, "defaults", "benchmarks.defaults", sys.argv[1:] if argv is None else argv)
    rows = []
    with threadpool_limits(1):
        VarianceDictionaryLearning(4, random_state=0).fit(np.eye(20, dtype=np.float32) * 4)  # what the first fit loads
        for name, data in load_all().items():
            if arguments.data and name not in arguments.data:
                continue
            if data.y is not None:
                rows.append({"data": name, "model": "raw", "r2": 1.0, **accuracies(data.X, data.y)})
                random = np.random.default_rng(0).standard_normal((data.X.shape[1], data.n_components))
                rows.append({"data": name, "model": "random", **accuracies(np.maximum(data.X @ random, 0), data.y)})
            for kind, model in models(data.n_components, data.X).items():
                rows.append({"data": name, "model": kind, **measure(model, data)})
                print(rows[-1], flush=True)
    output.table(pd.DataFrame(rows))


if __name__ == "__main__":
    main()
