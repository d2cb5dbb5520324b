"""The figure of `variational_uses`: what each method reaches at three jobs, beside PCA.

python -m benchmarks.uses_figure docs/_static/variational_uses.png
"""

import argparse
from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

RESULTS = Path(__file__).parent / "results"
JOBS = {
    "error_1": "error, 1 label a class",
    "error_10": "error, 10 labels",
    "mse_weak": "squared error, noise of 0.5",
    "mse_strong": "squared error, noise of 1.5",
    "frechet_features": "generated rows, features",
    "frechet_pixels": "generated rows, pixels",
}
COLOURS = {"digits": "#0072B2", "mnist": "#D55E00"}
REFERENCE = "PCA"


def ratios(table: pd.DataFrame) -> pd.DataFrame:
    """Return every number over that of PCA on the same data and seed."""
    numbers = table.set_index(["data", "seed", "method"]).reindex(columns=list(JOBS))
    reference = numbers.xs(REFERENCE, level="method")
    return numbers / reference.reindex(numbers.index.droplevel("method")).to_numpy()


def draw(table: pd.DataFrame, limits: tuple[float, float] = (0.45, 2.2)) -> Figure:
    """Return a panel for each number, with means and ranges over seeds; an arrow is a value beyond the limits."""
    methods = [method for method in table["method"].unique() if method != REFERENCE][::-1]
    found = ratios(table)
    figure = Figure(figsize=(8, 1.4 + 0.42 * len(methods)), layout="constrained")
    panels = figure.subplots(2, len(JOBS) // 2, sharey=True)
    for axes, (number, title) in zip(panels.T.flat, JOBS.items()):
        axes.axvline(1, color="0.7", lw=1)
        for shift, (data, colour) in zip((0.14, -0.14), COLOURS.items()):
            if data not in found.index:
                continue
            of_method = found.loc[data, number].groupby("method")
            summary = of_method.agg(["mean", "min", "max"]).reindex(methods)
            y = [index + shift for index in range(len(methods))]
            axes.hlines(y, summary["min"].clip(*limits), summary["max"].clip(*limits), color=colour, lw=1.5)
            inside = summary["mean"].between(*limits)
            heights = pd.Series(y, summary.index)
            axes.plot(summary["mean"][inside], heights[inside], "o", color=colour, ms=4, label=data)
            for side, marker in ((summary["mean"] > limits[1], ">"), (summary["mean"] < limits[0], "<")):
                axes.plot([limits[marker == ">"]] * side.sum(), heights[side], marker, color=colour, ms=4)
        axes.set(xscale="log", xlim=(limits[0] / 1.04, limits[1] * 1.04), xticks=[0.5, 1, 2])
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_title(title, fontsize="medium")
        axes.grid(axis="y", color="0.93")
    panels[0, 0].set_yticks(range(len(methods)), methods)
    figure.legend(*panels[0, 0].get_legend_handles_labels(), loc="outside lower right", ncols=2, frameon=False)
    figure.supxlabel("times what PCA has: left is better", fontsize="medium")
    return figure


def main(argv=None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", type=Path)
    arguments = parser.parse_args(argv)
    tables = [pd.read_csv(RESULTS / f"variational_uses_{data}.csv") for data in COLOURS]
    draw(pd.concat(tables)).savefig(arguments.figure, dpi=110)


if __name__ == "__main__":
    main()
