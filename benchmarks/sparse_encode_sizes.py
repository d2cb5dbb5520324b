"""`sparse_encode` against SPAMS and scikit-learn at every size: rows, atoms, features, coherence, weight, sign.

    python -m benchmarks.sparse_encode_sizes

Writes ``benchmarks/results/sparse_encode_sizes.csv``: processor seconds of one thread, the median of up to five calls,
and the largest relative duality gap of each method, in double precision. Ours runs to a gap of 1e-6; SPAMS' LARS is
exact where it converges, scikit-learn's ``lasso_cd`` has its own tolerance. SPAMS (``pip install spams-bin``) is left
out where it is not installed.

Rows are MNIST test images (784 features), or their middles averaged to 8 x 8 pixels (64). Atoms are other rows, centred
("coherent"), or normal numbers ("random"), of norm 1. The weight is 0.3 ("strong") or 0.03 ("weak") times the median
over rows of the weight at which the code is zero. A method that would take longer than half a second for the rows of a
cell, judged by the cell before, is timed on fewer rows (`*_rows`, at least three) and its seconds are scaled up; calls
are repeated while they fit into it. The whole run takes five to ten minutes.
"""

import argparse
import warnings
from itertools import product
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import sparse_encode as sklearn_sparse_encode
from threadpoolctl import threadpool_limits

from skvardict import sparse_encode
from skvardict.datasets import fetch_mnist

try:
    import spams
except ImportError:
    spams = None

TOL = 1e-6
SECONDS = 0.5  # for all calls of a method in a cell, unless one call takes longer
REPEATS = 5
FEWEST_ROWS = 3
OUT = Path(__file__).parent / "results" / "sparse_encode_sizes.csv"


def rows_of(n_features):
    """Return images with 784 or 64 features, in float64."""
    X = fetch_mnist("test", return_X_y=True)[0].astype(np.float64)
    if n_features == 64:
        middle = X.reshape(-1, 28, 28)[:, 6:22, 6:22]
        X = middle.reshape(-1, 8, 2, 8, 2).mean((2, 4)).reshape(-1, 64)
    return X


def atoms_of(X, kind, n_atoms):
    """Return centred rows or normal numbers as atoms of norm 1."""
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((n_atoms, X.shape[1]))
    if kind == "coherent":
        atoms = X[rng.choice(len(X), n_atoms, replace=False)]
        atoms = atoms - atoms.mean(1, keepdims=True)
    return atoms / np.linalg.norm(atoms, axis=1, keepdims=True)


def relative_gaps(X, atoms, codes, lam, positive):
    """Return the duality gaps of ``1/2 |x - z W|^2 + lam |z|_1`` over the objectives."""
    residual = X - codes @ atoms
    pull = residual @ atoms.T
    largest = (pull if positive else np.abs(pull)).max(1)
    residual_sq, along = (residual**2).sum(1), (residual * X).sum(1)
    scale = np.clip(np.minimum(along / np.maximum(residual_sq, 1e-300), lam / np.maximum(largest, 1e-300)), 0, None)
    primal = residual_sq / 2 + lam * np.abs(codes).sum(1)
    return (primal - scale * along + scale**2 * residual_sq / 2) / primal


def methods_of(atoms, lam, positive):
    """Return functions from rows to codes."""
    alpha = 2 * lam / atoms.shape[1]
    methods = {
        "ours": lambda X: sparse_encode(X, atoms, alpha=alpha, positive=positive, tol=TOL),
        "sklearn": lambda X: sklearn_sparse_encode(
            X, atoms, algorithm="lasso_cd", alpha=lam, positive=positive, max_iter=10_000
        ),
    }
    if spams is not None:
        D = np.asfortranarray(atoms.T)
        methods["spams"] = lambda X: (
            spams.lasso(np.asfortranarray(X.T), D=D, lambda1=lam, pos=positive, numThreads=1).toarray().T
        )
    return methods


def measure(method, X, seconds_per_row):
    """Return the median of the seconds for all rows, the codes of those timed, and how many they are."""
    n_timed = len(X) if seconds_per_row is None else int(SECONDS / max(seconds_per_row, 1e-9))
    n_timed = min(len(X), max(n_timed, FEWEST_ROWS))
    seconds, part = [], X[:n_timed]
    while len(seconds) < REPEATS and (not seconds or sum(seconds) * (1 + 1 / len(seconds)) < SECONDS):
        begin = process_time()
        codes = method(part)
        seconds.append(process_time() - begin)
    return float(np.median(seconds)) * len(X) / n_timed, codes, n_timed


def cells(sizes, atoms, features):
    """Yield one record per cell of the table."""
    for d, n_atoms, kind in product(features, atoms, ("coherent", "random")):
        whole = rows_of(d)
        W = atoms_of(whole, kind, n_atoms)
        X = whole[np.random.default_rng(1).permutation(len(whole))]
        median = np.median(np.abs(X @ W.T).max(1))
        for (strength, fraction), positive in product({"strong": 0.3, "weak": 0.03}.items(), (True, False)):
            per_row = {}
            for n in sizes:
                record = {"n_samples": n, "n_features": d, "n_components": n_atoms, "atoms": kind, "alpha": strength}
                record["positive"] = positive
                for name, method in methods_of(W, fraction * median, positive).items():
                    seconds, codes, n_timed = measure(method, X[:n], per_row.get(name))
                    per_row[name] = seconds / n
                    gaps = relative_gaps(X[:n_timed], W, codes, fraction * median, positive)
                    record |= {f"{name}_seconds": seconds, f"{name}_rows": n_timed, f"{name}_gap": gaps.max()}
                    record.setdefault("n_nonzero", (codes != 0).sum(1).mean())
                yield record


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 100, 10_000])
    parser.add_argument("--atoms", type=int, nargs="*", default=[64, 128, 512, 2048])
    parser.add_argument("--features", type=int, nargs="*", default=[64, 784])
    parser.add_argument("--out", type=Path, default=OUT)
    arguments = parser.parse_args()
    torch.set_num_threads(1)  # noqa: TID251  a benchmark pins its threads
    warnings.simplefilter("ignore")
    records = []
    with threadpool_limits(1):
        sparse_encode(np.eye(3), np.eye(3), alpha=0.1)  # imports and first calls are not counted
        for record in cells(arguments.rows, arguments.atoms, arguments.features):
            records.append(record)
            print({k: f"{v:.3g}" if isinstance(v, float) else v for k, v in record.items()}, flush=True)
    table = pd.DataFrame(records).sort_values(["n_samples", "n_features", "n_components"], kind="stable")
    for peer in ("spams", "sklearn"):
        if f"{peer}_seconds" in table:
            table[f"over_{peer}"] = table["ours_seconds"] / table[f"{peer}_seconds"]
    table.to_csv(arguments.out, index=False, float_format="%.3g")
    print(summary(table).to_string())


def summary(table):
    """Return, per number of rows: cells, those faster than each peer, those above its bar, and the largest ratio."""
    converged = table["spams_gap"] <= TOL if "spams_gap" in table else None
    lines = {}
    for n, part in table.groupby("n_samples"):
        lines[n] = {"cells": len(part)}
        for peer, bar in (("spams", 2.0), ("sklearn", 1.0)):
            if f"over_{peer}" in part:
                ratio = part[f"over_{peer}"][converged.loc[part.index]] if peer == "spams" else part[f"over_{peer}"]
                lines[n] |= {f"faster_than_{peer}": int((ratio < 1).sum()), f"of_{peer}": len(ratio)}
                lines[n] |= {f"above_{bar:g}x_{peer}": int((ratio > bar).sum()), f"worst_{peer}": ratio.max()}
    return pd.DataFrame(lines).T


if __name__ == "__main__":
    main()
