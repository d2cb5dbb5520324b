"""Curves over a grid of models: sparsity against reconstruction, labels against errors."""

from typing import Any

import pandas as pd

from skvardict._utils.messages import shown
from skvardict.display._figure import line_styles, new_axes
from skvardict.evaluation import low_label_differences, low_label_summary


class RegretCurveDisplay:
    """Sparsity of codes against PSNR of reconstructions, one line per model and one point per alpha.

    Points are means over seeds; the band is one standard error of their mean up and down, and bars one to each side.

    Parameters
    ----------
    table : DataFrame
        From :func:`skvardict.evaluation.regret_curve`: a row per `model`, `alpha` and seed, with `sparsity` and
        `psnr`. Standard errors in columns `psnr_se` and `sparsity_se` are taken as they are.

    Attributes
    ----------
    points : DataFrame
        One row per `model` and `alpha`: means `sparsity`, `psnr`, and their standard errors `sparsity_se`, `psnr_se`
        over the seeds that did not fail; NaN for a single one.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of ErrorbarContainer
        One per model.
    bands_ : list of PolyCollection
        One per model; empty where there are no standard errors.

    Examples
    --------
    >>> import pandas as pd
    >>> from skvardict.display import RegretCurveDisplay
    >>> rows = [("VDL", 0.01, 0, 0.8, 19.0), ("VDL", 0.01, 1, 0.9, 18.0), ("VDL", 0.02, 0, 0.95, 17.0)]
    >>> table = pd.DataFrame(rows, columns=["model", "alpha", "seed", "sparsity", "psnr"])
    >>> RegretCurveDisplay(table).points["psnr"].tolist()
    [18.5, 17.0]
    """

    def __init__(self, table: pd.DataFrame):
        _check_columns(type(self).__name__, table, ["model", "alpha", "sparsity", "psnr"])
        grouped = table.dropna(subset=["psnr"]).groupby(["model", "alpha"], sort=False)
        points = grouped[["sparsity", "psnr"]].mean()
        for name in ("sparsity", "psnr"):
            error = f"{name}_se"
            points[error] = grouped[error].first() if error in table.columns else grouped[name].sem()
        self.points = points.reset_index()

    def plot(self, ax: Any = None, *, annotate: bool = False, **errorbar_kwargs: Any) -> "RegretCurveDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        annotate : bool, default=False
            Write alpha beside each point.
        **errorbar_kwargs
            Passed to ``Axes.errorbar``.

        Returns
        -------
        self : RegretCurveDisplay
            With `ax_`, `figure_`, `lines_` and `bands_`.
        """
        ax = new_axes(type(self).__name__) if ax is None else ax
        self.lines_, self.bands_ = _draw_lines(ax, self.points, "sparsity", "psnr", "sparsity_se", **errorbar_kwargs)
        for line, (_, points) in zip(self.lines_, self.points.groupby("model", sort=False) if annotate else ()):
            for row in points.sort_values("sparsity").itertuples():
                place = {"textcoords": "offset points", "xytext": (5, 5), "fontsize": "small"}
                ax.annotate(shown(row.alpha), (row.sparsity, row.psnr), color=line[0].get_color(), **place)
        ax.set(xlabel="zeros in codes (fraction)", ylabel="PSNR of reconstructions (dB)")
        _explain(ax, self.points["psnr_se"], "over seeds", "numbers: alpha" if annotate else "")
        self.ax_, self.figure_ = ax, ax.figure
        return self


class LowLabelDisplay:
    """Test error against the number of labels per class, one line per model.

    Candidates (models of several alpha) are chosen on validation; the band is one standard error up and down, over
    seeds where all models have several, else over draws. With a `reference` the lines are differences from that model
    on the same labelled rows, and bands those of the differences. A table of two classifiers has a line for each model
    under each of them.

    Parameters
    ----------
    table : DataFrame
        From :func:`skvardict.evaluation.low_label_curve`.
    reference : str, optional
        Name of the model that the others are compared with.

    Attributes
    ----------
    summary : DataFrame
        What :func:`skvardict.evaluation.low_label_summary` makes of the table; with a `reference`, what
        :func:`skvardict.evaluation.low_label_differences` makes of it.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of ErrorbarContainer
    bands_ : list of PolyCollection

    Examples
    --------
    >>> import pandas as pd
    >>> from skvardict.display import LowLabelDisplay
    >>> rows = [("VDL", 0.01, n, d, 0.5, 60 - n, 30.0) for n in (1, 10) for d in (0, 1)]
    >>> names = ["model", "candidate", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
    >>> LowLabelDisplay(pd.DataFrame(rows, columns=names)).summary["top1_error"].tolist()
    [59.0, 50.0]
    """

    def __init__(self, table: pd.DataFrame, reference: str | None = None):
        needed = ["model", "candidate", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
        _check_columns(type(self).__name__, table, needed)
        self.reference = reference
        self.summary = low_label_summary(table) if reference is None else low_label_differences(table, reference)

    def plot(self, ax: Any = None, *, top: int = 1, **errorbar_kwargs: Any) -> "LowLabelDisplay":
        """Draw the curves.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            Where to draw; by default a new figure.
        top : {1, 3}, default=1
            Whether the true class must be the first, or among the first three.
        **errorbar_kwargs
            Passed to ``Axes.errorbar``.

        Returns
        -------
        self : LowLabelDisplay
            With `ax_`, `figure_`, `lines_` and `bands_`.
        """
        if top not in (1, 3):
            raise ValueError(f"{type(self).__name__}.plot knows top=1 and top=3, but got {top!r}.")
        ax = new_axes(type(self).__name__) if ax is None else ax
        value = f"top{top}_error" if self.reference is None else f"top{top}_difference"
        points = self.summary.rename(columns={f"top{top}_se": f"top{top}_error_se"})
        if "classifier" in points.columns:
            points = points.assign(model=points["model"] + ", " + points["classifier"])
        self.lines_, self.bands_ = _draw_lines(ax, points, "n_per_class", value, **errorbar_kwargs)
        counts = sorted(points["n_per_class"].unique())
        ax.set_xscale("log")
        ax.set_xticks(counts, [f"{count:g}" for count in counts], minor=False)
        ax.set_xticks([], minor=True)
        label = "test error" if top == 1 else "true class not in the first three"
        if self.reference is None:
            ax.set(xlabel="labels per class", ylabel=f"{label} (%)")
        else:
            ax.axhline(0, color="gray", linewidth=1)
            ax.set(xlabel="labels per class", ylabel=f"{label}, minus that of {self.reference} (points)")
        is_seeded = "n_seeds" in points.columns and (points["n_seeds"] > 1).all()
        _explain(ax, points[f"{value}_se"], "over seeds" if is_seeded else "over draws")
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _draw_lines(
    ax: Any, table: pd.DataFrame, x: str, y: str, x_error: str | None = None, **errorbar_kwargs: Any
) -> tuple[list[Any], list[Any]]:
    """Draw a line, bars and a band per model; errors of `y` are in the column of that name with ``_se``."""
    lines, bands = [], []
    for (model, points), style in zip(table.groupby("model", sort=False), line_styles()):
        points = points.sort_values(x)
        error = points[f"{y}_se"].fillna(0.0)
        bars = {"yerr": error, "xerr": None if x_error is None else points[x_error].fillna(0.0)}
        settings = {**style, "label": model, "markersize": 5, "elinewidth": 1, **bars, **errorbar_kwargs}
        lines.append(ax.errorbar(points[x], points[y], **settings))
        color = lines[-1][0].get_color()
        if error.any():
            bands.append(ax.fill_between(points[x], points[y] - error, points[y] + error, color=color, alpha=0.2, lw=0))
    return lines, bands


def _explain(ax: Any, errors: pd.Series, over: str, note: str = "") -> None:
    """Add a legend that says what bands are."""
    spread = f"mean ± standard error {over}" if errors.fillna(0.0).any() else ""
    ax.legend(title="\n".join(filter(None, (spread, note))) or None, title_fontsize="small")
    ax.grid(alpha=0.3)


def _check_columns(name: str, table: pd.DataFrame, needed: list[str]) -> None:
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise ValueError(
            f"{name} expects a table with columns {', '.join(needed)}, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Pass what skvardict.evaluation returns."
        )
