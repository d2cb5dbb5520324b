"""Train VarianceDictionaryLearning on MNIST and evaluate its encoder's codes on the test images.

    python -m benchmarks.vdl_mnist --alpha 0.02 --epochs 3 --seed 31 --step-size 0.5
    python -m benchmarks.vdl_mnist --alpha 0.02 --recipe auto     # the automatic fit instead of the paper's

Prints a row per epoch (validation), then test PSNR and sparsity, clean and with noise of sigma 1 and 1.5 added in the
standardised space (Table 1 of Evtimova & LeCun), and the accuracy of logistic regression on codes and raw pixels.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from sklearn.linear_model import LogisticRegression

from benchmarks._results import Output
from skvardict import VarianceDictionaryLearning, recipes
from skvardict.datasets import fetch_mnist
from skvardict.metrics import psnr, sparsity
from skvardict.solvers import FISTA

PIXEL_STD = 0.3081
TO_PIXEL_PSNR = -20 * np.log10(PIXEL_STD)  # PSNR of standardised rows to PSNR of pixels in [0, 1]


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--alpha", type=float, default=0.02)
    parser.add_argument("--recipe", choices=["auto", "paper"], default="paper", help="defaults, or the row of Table 3")
    parser.add_argument("--decoder", choices=["linear", "mlp"], default="linear")
    parser.add_argument("--epochs", type=int, help="3 of the paper's training; the automatic fit knows how many")
    parser.add_argument("--seed", type=int, default=31)
    parser.add_argument(
        "--step-size", default="0.5", help="of the paper's training: a number, 'auto' or 'backtracking'"
    )
    parser.add_argument("--device", default="auto")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--labels", type=int, nargs="*", default=[], help="labels per class for the classifier")
    parser.add_argument("--draws", type=int, default=10)
    parser.add_argument("--output", type=Path, help="CSV of the history; a JSON of the results goes beside it")
    return parser.parse_args()


def build(arguments) -> VarianceDictionaryLearning:
    common = {"device": arguments.device, "random_state": arguments.seed, "verbose": 1}
    if arguments.recipe == "auto":
        epochs = "auto" if arguments.epochs is None else arguments.epochs
        return VarianceDictionaryLearning(
            128, alpha=arguments.alpha, decoder=arguments.decoder, max_iter=epochs, **common
        )
    step = arguments.step_size
    solver = FISTA(step_size=float(step) if step[0].isdigit() or step[0] == "." else step)
    kind = "VDL-NL" if arguments.decoder == "mlp" else "VDL"
    return recipes.table3(kind, "mnist", alpha=arguments.alpha, solver=solver, max_iter=arguments.epochs or 3, **common)


def evaluate(model, X, seed=0) -> dict:
    """Return PSNR in pixels and sparsity of encoder codes, clean and noisy."""
    rng = np.random.default_rng(seed)
    rows = {}
    for sigma in (0.0, 1.0, 1.5):
        noisy = X + sigma * rng.standard_normal(X.shape).astype(np.float32)
        codes = model.transform(noisy)
        rows[f"sigma_{sigma:g}"] = {
            "psnr": psnr(X, model.inverse_transform(codes)) + TO_PIXEL_PSNR,
            "sparsity": sparsity(codes),
            "input_psnr": psnr(X, noisy) + TO_PIXEL_PSNR if sigma else None,
        }
    return rows


def few_labels(model, train, test, n_per_class: int, n_draws: int) -> dict:
    """Return mean accuracies (percent) of logistic regression on raw pixels and on codes."""
    (X, y), (X_test, y_test) = train, test
    codes_test = model.transform(X_test)
    scores = []
    for seed in range(n_draws):
        rng = np.random.default_rng(seed)
        rows = np.concatenate([rng.choice(np.flatnonzero(y == c), n_per_class, replace=False) for c in range(10)])
        pairs = [(X[rows], X_test), (model.transform(X[rows]), codes_test)]
        scores.append([LogisticRegression(max_iter=2000).fit(a, y[rows]).score(b, y_test) * 100 for a, b in pairs])
    means = np.mean(scores, axis=0)
    return {"raw": means[0], "codes": means[1], "gain": means[1] - means[0], "draws": n_draws}


def main():
    arguments = parse_arguments()
    torch.set_num_threads(arguments.threads)  # noqa: TID251  a benchmark pins its threads
    output = None
    if arguments.output is not None:
        output = Output(arguments.output.parent, arguments.output.stem, "benchmarks.vdl_mnist", sys.argv[1:])
    X, y = fetch_mnist("train", return_X_y=True)
    X_val, _ = fetch_mnist("validation", return_X_y=True)
    X_test, y_test = fetch_mnist("test", return_X_y=True)
    model = build(arguments).fit(X, X_val=X_val)
    history = pd.DataFrame(model.history_)
    history["validation_psnr"] += TO_PIXEL_PSNR
    shown = ["epoch", "validation_psnr", "validation_sparsity", "validation_energy", "solver_n_iter"]
    print(history[[*shown, "solver_n_unconverged", "n_dead", "seconds"]].to_string(index=False))
    results = {
        "arguments": {k: v for k, v in vars(arguments).items() if k != "output"},
        "best_epoch": model.best_epoch_,
        "seconds_per_epoch": float(history["seconds"].iloc[1:].median()) if len(history) > 1 else None,
        "validation": {k: float(history[k].iloc[-1]) for k in shown[1:4]},
        "unconverged_rows": int(history["solver_n_unconverged"].sum()),
        "test": evaluate(model, X_test),
        "few_labels": {n: few_labels(model, (X, y), (X_test, y_test), n, arguments.draws) for n in arguments.labels},
    }
    print(json.dumps(results, indent=2))
    if output is not None:
        output.table(history, **results)


if __name__ == "__main__":
    main()
