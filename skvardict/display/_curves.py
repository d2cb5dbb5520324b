"""Curves over a grid of models: sparsity against reconstruction, labels against errors."""

from typing import Any

import pandas as pd

from skvardict._utils.messages import shown
from skvardict.display._figure import new_axes
from skvardict.evaluation import low_label_summary


class RegretCurveDisplay:
    """Sparsity of codes against PSNR of reconstructions, one line per model and one point per alpha.

    Points are means over seeds; bars show the standard deviation over seeds where there are several.

    Parameters
    ----------
    table : DataFrame
        From :func:`skvardict.evaluation.regret_curve`.

    Attributes
    ----------
    points : DataFrame
        One row per `model` and `alpha`: means `sparsity`, `psnr`, and their deviations `sparsity_std`, `psnr_std`
        over the seeds that did not fail; NaN for a single one.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of ErrorbarContainer
        One per model.

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
        _check_columns(type(self).__name__, table, ["model", "alpha", "seed", "sparsity", "psnr"])
        grouped = table.dropna(subset=["psnr"]).groupby(["model", "alpha"], sort=False)[["sparsity", "psnr"]]
        self.points = grouped.mean().join(grouped.std().add_suffix("_std")).reset_index()

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
            With `ax_`, `figure_` and `lines_`.
        """
        if ax is None:
            ax = new_axes(type(self).__name__)
        self.lines_ = []
        for model, points in self.points.groupby("model", sort=False):
            points = points.sort_values("sparsity")
            bars = points.fillna({"sparsity_std": 0.0, "psnr_std": 0.0})
            line = ax.errorbar(
                points["sparsity"],
                points["psnr"],
                xerr=bars["sparsity_std"],
                yerr=bars["psnr_std"],
                **{"marker": "o", "label": model, **errorbar_kwargs},
            )
            self.lines_.append(line)
            for row in points.itertuples() if annotate else ():
                place = {"textcoords": "offset points", "xytext": (4, 4), "fontsize": "x-small"}
                ax.annotate(shown(row.alpha), (row.sparsity, row.psnr), color=line[0].get_color(), **place)
        ax.set(xlabel="sparsity (fraction of zeros)", ylabel="PSNR (dB)")
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


class LowLabelDisplay:
    """Test error against the number of labels per class, one line per model.

    Candidates (models of several alpha) are chosen on validation; bars are standard errors over draws.

    Parameters
    ----------
    table : DataFrame
        From :func:`skvardict.evaluation.low_label_curve`.

    Attributes
    ----------
    summary : DataFrame
        What :func:`skvardict.evaluation.low_label_summary` makes of the table.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : list of ErrorbarContainer

    Examples
    --------
    >>> import pandas as pd
    >>> from skvardict.display import LowLabelDisplay
    >>> rows = [("VDL", 0.01, n, d, 0.5, 60 - n, 30.0) for n in (1, 10) for d in (0, 1)]
    >>> names = ["model", "candidate", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
    >>> LowLabelDisplay(pd.DataFrame(rows, columns=names)).summary["top1_error"].tolist()
    [59.0, 50.0]
    """

    def __init__(self, table: pd.DataFrame):
        needed = ["model", "candidate", "n_per_class", "draw", "validation_accuracy", "top1_error", "top3_error"]
        _check_columns(type(self).__name__, table, needed)
        self.summary = low_label_summary(table)

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
            With `ax_`, `figure_` and `lines_`.
        """
        if top not in (1, 3):
            raise ValueError(f"{type(self).__name__}.plot knows top=1 and top=3, but got {top!r}.")
        if ax is None:
            ax = new_axes(type(self).__name__)
        self.lines_ = []
        for model, points in self.summary.groupby("model", sort=False):
            points = points.sort_values("n_per_class")
            line = ax.errorbar(
                points["n_per_class"],
                points[f"top{top}_error"],
                yerr=points[f"top{top}_se"].fillna(0.0),
                **{"marker": "o", "label": model, **errorbar_kwargs},
            )
            self.lines_.append(line)
        ax.set(xscale="log", xlabel="labels per class", ylabel=f"top-{top} test error (%)")
        ax.legend()
        self.ax_, self.figure_ = ax, ax.figure
        return self


def _check_columns(name: str, table: pd.DataFrame, needed: list[str]) -> None:
    missing = [column for column in needed if column not in table.columns]
    if missing:
        raise ValueError(
            f"{name} expects a table with columns {', '.join(needed)}, but {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing. Pass what skvardict.evaluation returns."
        )
