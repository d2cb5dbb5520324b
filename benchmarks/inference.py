"""Speed of inference and training against peers, side by side in one process with pinned threads.

    python -m benchmarks.inference --threads 1

Three tables: our FISTA against the same equations through autograd (one batch of VDL); an epoch of ours against an
epoch's inference through autograd at 43 iterations a batch; `sparse_encode` against scikit-learn's lasso_cd and, where
it is installed (``pip install spams-bin``), SPAMS, all scored by one objective in float64.
"""

import argparse
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from sklearn.decomposition import sparse_encode as sklearn_sparse_encode
from threadpoolctl import threadpool_limits

from benchmarks._autograd_fista import autograd_fista
from skvardict import sparse_encode
from skvardict.datasets import fetch_mnist
from skvardict.energies import L1, Coupling, LinearProblem, VarianceHinge, to_sklearn_alpha
from skvardict.recipes import table3
from skvardict.solvers import FISTA


def median_seconds(function, repeats):
    """Return the median time of `repeats` calls after one that is not counted."""
    return median_seconds_in_turn({"": function}, repeats)[0]


def median_seconds_in_turn(functions, repeats):
    """Return the median time of each function, all called once in each of `repeats` rounds after one uncounted.

    A machine that slows down for a while then slows all of them, and leaves their ratios alone.
    """
    times = np.empty((repeats + 1, len(functions)))
    for row in times:
        for column, function in enumerate(functions.values()):
            begin = perf_counter()
            function()
            row[column] = perf_counter() - begin
    return np.median(times[1:], axis=0)


def training_table(X, repeats):
    """Return seconds per epoch of ours and of plain autograd, and the ratio."""
    rows = []
    for step_size in (0.5, "auto"):
        model = table3(
            "VDL", "mnist", alpha=0.02, solver=FISTA(step_size=step_size), max_iter=1 + repeats, random_state=31
        ).fit(X)
        ours = float(np.median(model.history_["seconds"][1:]))
        decoder = torch.nn.Linear(128, 784, bias=False)
        decoder.weight.data = torch.from_numpy(model.components_.T.copy())
        batch = torch.from_numpy(X[:250].copy())
        with torch.no_grad():
            prediction = model.encoder_(batch)

        def plain(batch=batch, decoder=decoder, prediction=prediction):
            arguments = {"alpha": 0.02, "beta": 10.0, "gamma": 5.0, "max_iter": 43, "tol": 0.0}
            return autograd_fista(batch, decoder, prediction, prediction, **arguments)

        def closed_form(model=model, batch=batch, prediction=prediction):
            atoms, coupling = torch.from_numpy(model.components_), Coupling(5.0, prediction)
            problem = LinearProblem(batch, atoms, L1(0.02), coupling, VarianceHinge(10.0, 0.5))
            return FISTA(step_size=0.5, max_iter=43, tol=0.0).solve(problem, prediction)

        # The inference alone: the plain epoch's training step (about 3 % of it) is left out in its favour.
        autograd = median_seconds(plain, repeats) * len(X) / 250
        rows.append(
            {
                "step_size": step_size,
                "seconds_per_epoch": ours,
                "autograd_seconds": autograd,
                "ratio": autograd / ours,
                "batch_of_43_iterations_ratio": autograd * 250 / len(X) / median_seconds(closed_form, repeats),
            }
        )
    return pd.DataFrame(rows)


def encode_table(X, n_atoms, repeats):
    """Return seconds and worst relative excess over the best objective found, per method and tolerance."""
    rng = np.random.default_rng(0)
    atoms = X[rng.choice(len(X), n_atoms, replace=False)].astype(np.float64)
    atoms -= atoms.mean(axis=1, keepdims=True)
    atoms /= np.linalg.norm(atoms, axis=1, keepdims=True)
    X = X.astype(np.float64)
    alpha = 0.005
    lam = to_sklearn_alpha(alpha, X.shape[1])
    methods = {
        f"skvardict tol={tol:g}": lambda tol=tol: sparse_encode(X, atoms, alpha=alpha, tol=tol) for tol in (1e-3, 1e-6)
    }
    methods["scikit-learn lasso_cd"] = lambda: sklearn_sparse_encode(
        X, atoms, algorithm="lasso_cd", alpha=lam, positive=True, max_iter=10_000
    )
    try:
        import spams
    except ImportError:
        pass
    else:
        data, dictionary = np.asfortranarray(X.T), np.asfortranarray(atoms.T)
        methods["SPAMS lasso"] = lambda: (
            spams.lasso(data, D=dictionary, lambda1=lam, pos=True, numThreads=1).toarray().T
        )
    seconds = median_seconds_in_turn(methods, repeats)
    objectives = {}
    for name, method in methods.items():
        codes = method()
        objectives[name] = 0.5 * ((X - codes @ atoms) ** 2).sum(1) + lam * np.abs(codes).sum(1)
    best = np.minimum.reduce(list(objectives.values()))
    return pd.DataFrame(
        {
            "method": list(methods),
            "n_atoms": n_atoms,
            "seconds": seconds,
            "worst_relative_excess": [float(((objectives[name] - best) / best).max()) for name in methods],
        }
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--n-train", type=int, default=55_000)
    parser.add_argument("--n-encode", type=int, default=10_000)
    parser.add_argument("--atoms", type=int, nargs="*", default=[128, 512])
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)  # noqa: TID251  a benchmark pins its threads
    with threadpool_limits(arguments.threads):
        X, _ = fetch_mnist("train", return_X_y=True)
        print(training_table(X[: arguments.n_train], arguments.repeats).to_string(index=False), flush=True)
        X, _ = fetch_mnist("test", return_X_y=True)
        for n_atoms in arguments.atoms:
            table = encode_table(X[: arguments.n_encode], n_atoms, arguments.repeats)
            print(table.to_string(index=False), flush=True)


if __name__ == "__main__":
    main()
