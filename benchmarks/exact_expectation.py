"""Variational sparse coding in closed form against draws: what is learnt, and what codes of a posterior are worth.

    OMP_NUM_THREADS=1 python -m benchmarks.exact_expectation --side 8
    OMP_NUM_THREADS=1 python -m benchmarks.exact_expectation --side 16
    OMP_NUM_THREADS=1 python -m benchmarks.exact_expectation --side 16 --rows 80000 --epochs 300 --weights 1 \
        --methods spike_and_slab --name exact_expectation_full --checkpoint /tmp/full

Whitened patches standardised per pixel, split by photograph, and as many atoms as pixels. The weight of the divergence
is the released one (0.01 beside the mean of 256 squares, a noise variance of 1.28) or a part of it; over 256 it is the
printed one, beside the sum. "auto" learns it. Held-out rows, one seed. "objective" is the trained one, no warm-ups,
over the mean square of the rows: 1.0 is a code of zeros. "lasso" is 1/2 |x - z W|^2 + 20 |z|_1 per row. Consistency is
the mean Jaccard index of the supports of two draws; at "chance" they would be independent from row to row.
"""

import argparse
import sys
from pathlib import Path
from time import process_time

import numpy as np
import pandas as pd
from sklearn.preprocessing import StandardScaler

from benchmarks._results import Output
from benchmarks._variational import best_draws
from skvardict import SparseVAE, SpikeAndSlabVSC, ThresholdedVSC, recipes
from skvardict.datasets import load_whitened_patches
from skvardict.metrics import jaccard_consistency, r2, sparse_coding_objective
from skvardict.networks import MLP
from skvardict.training import Adam, CosineRate, OnlineUpdate

RELEASED = 0.01 * 256  # times 1 / d: the weight beside the mean of d squares
N_TEST = 1600
STATISTICS = OnlineUpdate(encoder_optimizer=Adam(1e-3, schedule=CosineRate(0.05)))


def methods(**common) -> dict:
    """Return models by name; those of the paper are drawn from, with its optimiser."""
    drawn = {"expectation": "draws", **common}
    return {
        "thresholded_laplace, draws": recipes.vsc("thresholded_laplace", **common),
        "spike_and_slab, draws": recipes.vsc("spike_and_slab", **common),
        "gaussian_laplace, draws": SparseVAE(**drawn, early_stopping=False, atom_norm=None, n_draws=20),
        "thresholded_laplace": ThresholdedVSC(**common),
        "thresholded_gaussian": ThresholdedVSC(base="gaussian", **common),
        "spike_and_slab": SpikeAndSlabVSC(**common),
        "spike_and_slab, aggregate": SpikeAndSlabVSC(divergence="aggregate", **common),
        "spike_and_slab, statistics": SpikeAndSlabVSC(optimizer=STATISTICS, **common),
        "thresholded_laplace, aggregate": ThresholdedVSC(divergence="aggregate", **common),
        "gaussian_laplace": SparseVAE(**common, early_stopping=False, atom_norm=None),
    }


def load(side: int, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
    train, test = (
        load_whitened_patches(n, (side, side), split=split, random_state=0).data
        for n, split in ((n_rows, "train"), (N_TEST, "test"))
    )
    scaler = StandardScaler().fit(train)
    return scaler.transform(train).astype(np.float32), scaler.transform(test).astype(np.float32)


def codes_of(model, X) -> dict[str, np.ndarray]:
    """Return codes by every way that has no solver of its own."""
    params = model.posterior_params(X)
    codes = {"draw": model.sample_codes(X, random_state=0)[0], "mean": params["code_mean"]}
    if "activation_probability" in params:
        codes["support"] = np.where(params["activation_probability"] > 0.5, params["mean"], 0)
    codes["best_of_20"] = best_draws(model, X, 20)
    return codes


def describe(model, X) -> dict[str, float]:
    d = X.shape[1]
    row = {"kl_weight": model.kl_weight_}
    on = model.posterior_params(X).get("activation_probability")
    for name, codes in codes_of(model, X).items():
        decoded = model.inverse_transform(codes)
        row |= {
            f"r2_{name}": r2(X, decoded),
            f"lasso_{name}": sparse_coding_objective(X, decoded, codes, alpha=40 / d).total,
            f"nonzero_{name}": float((codes != 0).mean()),
        }
    row["lasso_zero"] = float(np.square(X).sum(1).mean() / 2)
    if on is not None:
        draws = model.sample_codes(X[:400], 20, random_state=1)
        share = float((draws != 0).mean())
        row |= {f"on_{q}%": float(np.quantile(on, q / 100)) for q in (5, 50, 95, 99)}
        row |= {"jaccard": float(np.nanmean(jaccard_consistency(draws))), "chance": share / (2 - share)}
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=8)
    parser.add_argument("--rows", type=int, default=8000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--methods", nargs="+")
    parser.add_argument("--weights", nargs="+", default=["1", "4", "16", "auto"])
    parser.add_argument("--name", default=None)
    parser.add_argument("--checkpoint", type=Path)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    options = parser.parse_args()
    output = Output(options.results, options.name or f"exact_expectation_{options.side}", __spec__.name, sys.argv[1:])
    X, X_test = load(options.side, options.rows)
    d = X.shape[1]
    encoder = MLP((128, 256, 128) if d == 64 else (512, 1024, 512, 256))
    common = {"n_components": d, "max_iter": options.epochs, "random_state": 0, "encoder": encoder}
    names = options.methods or list(methods())
    table: list[dict] = []
    for weight in options.weights:
        for name in names:
            model = methods(**common)[name].set_params(
                kl_weight=weight if weight == "auto" else RELEASED / d / float(weight)
            )
            begin = process_time()
            model.fit(X, X_val=X_test, checkpoint=options.checkpoint)
            row = {"method": name, "weight_over": weight, "steps": model.n_steps_, "seconds": process_time() - begin}
            row["objective"] = model.history_["validation_energy"][-1] / float(np.square(X_test).mean())
            table.append(row | describe(model, X_test))
            output.table(pd.DataFrame(table))


if __name__ == "__main__":
    main()
