"""The figure of the benchopt benchmark: held-out objective against seconds.

benchopt run benchmarks/benchopt_dictionary_learning -d digits -d planted --output RESULTS
python -m benchmarks.benchopt_figure RESULTS.parquet docs/_static/benchopt.png
"""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure

STYLES = {
    "skvardict[encoder=None]": ("skvardict", "#0072B2", "o"),
    "skvardict[encoder=lista]": ("skvardict, with encoder", "#56B4E9", "s"),
    "scikit-learn[estimator=mini-batch]": ("scikit-learn, mini-batches", "#D55E00", "^"),
    "scikit-learn[estimator=batch]": ("scikit-learn, one batch", "#E69F00", "v"),
    "NMF": ("NMF", "#999999", "d"),
    "SPAMS": ("SPAMS", "#009E73", "P"),
    "dictlearn": ("dictlearn", "#CC79A7", "X"),
}


def draw(results: pd.DataFrame) -> Figure:
    """Return a panel for each data set and sign of codes; values are relative to the best that any solver reached."""
    panels = list(results.groupby(["dataset_name", "objective_name"], sort=True))
    n_columns = min(2, len(panels))
    figure = Figure(figsize=(4.5 * n_columns + 2.5, 3.2 * -(-len(panels) // n_columns)), layout="constrained")
    shown = {}
    for axes, ((data, objective), part) in zip(figure.subplots(-(-len(panels) // 2), n_columns).flat, panels):
        best = part["objective_value"].min()
        for solver, (label, colour, marker) in STYLES.items():
            curve = part[part["solver_name"] == solver].sort_values("stop_val").iloc[1:]  # the first also imports
            excess = 100 * (curve["objective_value"] / best - 1)
            if len(curve):
                (shown[label],) = axes.plot(curve["time"], excess.clip(lower=0.01), color=colour, marker=marker, ms=4)
        signs = "non-negative" if "True" in objective else "of both signs"
        axes.set(title=f"{data.split('[')[0]}, codes {signs}", xscale="log", yscale="log")
    figure.supxlabel("seconds")
    figure.supylabel("held-out objective, % above the best")
    figure.legend(shown.values(), shown.keys(), loc="outside right upper")
    return figure


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("figure", type=Path)
    arguments = parser.parse_args(argv)
    draw(pd.read_parquet(arguments.results)).savefig(arguments.figure, dpi=110)


if __name__ == "__main__":
    main()
