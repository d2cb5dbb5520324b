"""Reproduce "Sparse Coding with Multi-layer Decoders using Variance Regularization" (Evtimova & LeCun, TMLR 2022).

    python -m benchmarks.reproduce_vdl released     # 3 epochs, against what the released code gives
    python -m benchmarks.reproduce_vdl variants     # all eight kinds of model at one alpha
    python -m benchmarks.reproduce_vdl table1       # clean and noisy PSNR and sparsity after 200 epochs
    python -m benchmarks.reproduce_vdl ablation     # with and without the variance term

Every fitted model is kept in --runs and is not fitted again: a killed command continues where it was, and commands
share models. Tables and figures go to --results, each with a JSON that says how it was made.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray

from benchmarks._results import write_results
from benchmarks._table3 import KINDS, NONLINEAR, build
from skvardict.datasets import fetch_mnist
from skvardict.evaluation import denoising_table, evaluate_codes, fit_or_load

MNIST_STD = 0.3081
MNIST_RANGE = 1 / MNIST_STD  # of pixels in [0, 1], in the units of standardised rows
PUBLISHED = pd.DataFrame(
    [
        ("SDL", 0.0, 17.3, 0.897),
        ("SDL", 1.0, 16.9, 0.873),
        ("SDL", 1.5, 15.7, 0.846),
        ("VDL", 0.0, 17.7, 0.918),
        ("VDL", 1.0, 15.4, 0.881),
        ("VDL", 1.5, 12.2, 0.845),
    ],
    columns=["model", "sigma", "published_psnr", "published_sparsity"],
)
# Validation, one seed: PSNR and fraction of zeros of the authors' code after so many epochs.
RELEASED = {
    ("SDL", 0.005, 3): (16.19, 0.8725),
    ("VDL", 0.02, 3): (14.84, 0.8920),
    ("SDL-NL", 0.005, 1): (16.39, 0.7962),
    ("VDL-NL", 0.01, 1): (16.17, 0.7662),
}
ALPHA = {"SDL": 0.005, "VDL": 0.02, "WDL": 0.005, "DO": 0.005} | {
    "SDL-NL": 0.005,
    "VDL-NL": 0.01,
    "WDL-NL": 0.005,
    "DO-NL": 0.005,
}


@dataclass
class Rows:
    """Standardised rows of three splits, with labels where there are any."""

    train: NDArray
    validation: NDArray
    test: NDArray
    y_train: NDArray
    y_validation: NDArray
    y_test: NDArray


def load_mnist(n_train: int | None) -> Rows:
    splits = [fetch_mnist(split, return_X_y=True) for split in ("train", "validation", "test")]
    (X, y), (X_val, y_val), (X_test, y_test) = splits
    return Rows(X[:n_train], X_val, X_test, y[:n_train], y_val, y_test)


def fit(arguments, rows: Rows, kind: str, alpha: float, *, seed: int, epochs: int, **changes):
    """Return a fitted model, from `--runs` where it is there."""
    data = changes.pop("data", "mnist")
    step_size = changes.pop("step_size", arguments.step_size)
    model = build(data, kind, alpha, epochs=epochs, step_size=step_size, seed=seed, device=arguments.device, **changes)
    model.set_params(verbose=arguments.verbose)
    print(f"{kind}  alpha {alpha:g}  seed {seed}  epochs {epochs}  step {step_size}", flush=True)
    fitted = fit_or_load(model, rows.train, folder=arguments.runs / "models", fit_params={"X_val": rows.validation})
    print(f"    {fitted.fit_seconds_:.0f} s, best epoch {fitted.best_epoch_}, dead {fitted.n_dead_}", flush=True)
    return fitted


def epochs_of(arguments, kind: str) -> int:
    return arguments.nonlinear_epochs if kind in NONLINEAR else arguments.epochs


def released(arguments, rows: Rows) -> pd.DataFrame:
    """Compare validation PSNR and sparsity with the authors' code after one or three epochs."""
    found = []
    for (kind, alpha, epochs), (psnr, zeros) in RELEASED.items():
        for step_size in ("table", "auto", 0.5) if kind == "SDL" else ("table", "auto"):
            for seed in arguments.seeds:
                model = fit(arguments, rows, kind, alpha, seed=seed, epochs=epochs, step_size=step_size)
                measured = evaluate_codes(model, rows.validation, data_range=MNIST_RANGE)
                found.append(
                    {
                        "model": kind,
                        "alpha": alpha,
                        "epochs": epochs,
                        "step_size": model.solver.step_size,
                        "seed": seed,
                        "psnr": measured["psnr"],
                        "released_psnr": psnr,
                        "sparsity": measured["sparsity"],
                        "released_sparsity": zeros,
                        "solver_n_iter": model.history_["solver_n_iter"][-1],
                        "fit_seconds": model.fit_seconds_,
                    }
                )
    return pd.DataFrame(found)


def variants(arguments, rows: Rows) -> pd.DataFrame:
    """Fit each kind of model at one alpha and describe its codes of the test images."""
    found = []
    for kind in arguments.kinds:
        for seed in arguments.seeds:
            model = fit(arguments, rows, kind, ALPHA[kind], seed=seed, epochs=epochs_of(arguments, kind))
            measured = evaluate_codes(model, rows.test, data_range=MNIST_RANGE)
            found.append(
                {
                    "model": kind,
                    "alpha": ALPHA[kind],
                    "epochs": epochs_of(arguments, kind),
                    "seed": seed,
                    **measured,
                    "solver_n_iter": model.history_["solver_n_iter"][-1],
                    "fit_seconds": model.fit_seconds_,
                }
            )
    return pd.DataFrame(found)


def table1(arguments, rows: Rows) -> pd.DataFrame:
    """Measure clean and noisy test images, and set them beside the published table."""
    tables = []
    for kind in arguments.kinds:
        for seed in arguments.seeds:
            model = fit(arguments, rows, kind, ALPHA[kind], seed=seed, epochs=arguments.epochs)
            table = denoising_table({kind: model}, rows.test, data_range=MNIST_RANGE)
            table.insert(1, "step_size", [str(model.solver.step_size)] * len(table))
            tables.append(table.assign(model_seed=seed, fit_seconds=model.fit_seconds_))
    return pd.concat(tables).merge(PUBLISHED, how="left", on=["model", "sigma"])


def ablation(arguments, rows: Rows) -> pd.DataFrame:
    """Follow the mean L1 of every batch of the first epoch, and count dead components after three."""
    found = []
    for kind, alpha in (("VDL", 0.02), ("VDL-NL", 0.01)):
        for beta in (10.0, 0.0):
            for seed in arguments.seeds:
                l1 = _l1_by_batch(arguments, rows, kind, alpha, beta, seed)
                model = fit(arguments, rows, kind, alpha, seed=seed, epochs=3, beta=beta)
                found += [
                    {
                        "model": kind,
                        "alpha": alpha,
                        "beta": beta,
                        "seed": seed,
                        "batch": batch,
                        "l1": value,
                        "n_dead_after_3_epochs": model.n_dead_,
                        "component_std_after_3_epochs": model.history_["component_std"][-1],
                    }
                    for batch, value in enumerate(l1, start=1)
                ]
    return pd.DataFrame(found)


def _l1_by_batch(arguments, rows: Rows, kind: str, alpha: float, beta: float, seed: int) -> list[float]:
    """Return the mean L1 of the solver's codes in each of the first batches; a call of `partial_fit` is a batch."""
    model = build("mnist", kind, alpha, step_size=arguments.step_size, seed=seed, device=arguments.device, beta=beta)
    order = np.random.default_rng(seed).permutation(len(rows.train))
    for batch in order[: 200 * model.batch_size].reshape(-1, model.batch_size):
        model.partial_fit(rows.train[batch])
    return model.history_["l1"]


# Command: function, file name of its table, epochs (linear, non-linear), kinds of model.
COMMANDS = {
    "released": (released, "vdl_released_code", (3, 1), None),
    "variants": (variants, "vdl_variants", (15, 5), KINDS),
    "table1": (table1, "vdl_table1", (200, 200), ("SDL", "VDL")),
    "ablation": (ablation, "vdl_ablation", (3, 3), None),
}


def parse_arguments(argv=None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    for name, (function, _, (epochs, nonlinear_epochs), kinds) in COMMANDS.items():
        command = commands.add_parser(name, description=function.__doc__, help=function.__doc__)
        command.add_argument("--epochs", type=int, default=epochs, help=f"linear models ({epochs})")
        command.add_argument("--nonlinear-epochs", type=int, default=nonlinear_epochs, help=f"({nonlinear_epochs})")
        command.add_argument("--seeds", type=int, nargs="+", default=[0])
        command.add_argument("--n-train", type=int, help="training rows; all by default")
        command.add_argument("--step-size", type=_step_size, default="table", help="'table', 'auto' or a number")
        command.add_argument("--device", default="auto")
        command.add_argument("--threads", type=int, default=1)
        command.add_argument("--runs", type=Path, default=Path("benchmarks/runs"), help="finished models and points")
        command.add_argument("--results", type=Path, default=Path("benchmarks/results"))
        command.add_argument("--name", help="file name of the results, without ending")
        command.add_argument("--verbose", type=int, default=0, help="1: a line per epoch")
        if kinds is not None:
            command.add_argument("--kinds", nargs="+", choices=KINDS, default=list(kinds))
    return parser.parse_args(argv)


def _step_size(text: str) -> float | str:
    return text if text in ("table", "auto", "backtracking") else float(text)


def main(argv=None) -> None:
    arguments = parse_arguments(argv)
    torch.set_num_threads(arguments.threads)  # noqa: TID251  a benchmark pins its threads
    function, name, *_ = COMMANDS[arguments.command]
    name = arguments.name or name
    begin = perf_counter()
    table = function(arguments, load_mnist(arguments.n_train))
    print(table.to_string(index=False))
    module = "benchmarks.reproduce_vdl"
    write_results(
        arguments.results, name, table, module, argv or sys.argv[1:], seconds=round(perf_counter() - begin, 1)
    )


if __name__ == "__main__":
    main()
