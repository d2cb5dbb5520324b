"""How training went."""

from collections.abc import Mapping, Sequence
from math import ceil
from typing import Any

from skvardict.display._dictionary import find_model
from skvardict.display._figure import COLORS, new_figure

# What shows whether a model learns, and whether it collapses.
_SHOWN = ("energy", "r2", "kl", "sparsity", "l1", "n_dead", "component_std")
_TITLES = {
    "energy": "energy per row",
    "r2": "R² of reconstructions",
    "psnr": "PSNR for a data range of 1 (dB)",
    "kl": "KL divergence (nats per row)",
    "sparsity": "zeros in codes (fraction)",
    "l1": "L1 norm of a code",
    "n_dead": "dead components",
    "component_std": "std of a component",
}
_MAX_COLUMNS = 3


class HistoryDisplay:
    """Quantities of `history_` against epochs, one panel each; training and validation in the same panel.

    A collapsing model shows as a falling `l1` and `component_std` and a rising `n_dead`.

    Parameters
    ----------
    history : dict of list
        One entry per epoch, as in `history_`.
    quantities : sequence of str
        Names of the panels: keys of `history`, with or without the prefix ``validation_``.
    best_epoch : int, optional
        Marked by a vertical line.

    Attributes
    ----------
    axes_ : list of matplotlib Axes
    figure_ : matplotlib Figure

    Examples
    --------
    >>> from skvardict.display import HistoryDisplay
    >>> history = {"epoch": [1, 2], "energy": [1.0, 0.5], "validation_energy": [1.1, 0.7], "n_dead": [0, 3]}
    >>> HistoryDisplay.from_history(history).quantities
    ['energy', 'n_dead']
    """

    def __init__(self, history: Mapping[str, list], *, quantities: Sequence[str], best_epoch: int | None = None):
        self.history = dict(history)
        self.quantities = list(quantities)
        self.best_epoch = best_epoch

    @classmethod
    def from_estimator(
        cls, estimator: Any, *, step: str | None = None, quantities: Sequence[str] | None = None
    ) -> "HistoryDisplay":
        """Make a display of a fitted estimator, or of the last or named step of a pipeline, that has `history_`.

        Parameters
        ----------
        estimator : estimator or Pipeline
        step : str, optional
        quantities : sequence of str, optional
            As in `from_history`.

        Returns
        -------
        display : HistoryDisplay
        """
        model = find_model(cls.__name__, estimator, step, "history_")
        return cls.from_history(model.history_, quantities=quantities, best_epoch=getattr(model, "best_epoch_", None))

    @classmethod
    def from_history(
        cls,
        history: Mapping[str, list],
        *,
        quantities: Sequence[str] | None = None,
        best_epoch: int | None = None,
    ) -> "HistoryDisplay":
        """Make a display of recorded epochs.

        Parameters
        ----------
        history : dict of list
        quantities : sequence of str, optional
            What to show; by default those of energy, r2, kl, sparsity, l1, n_dead and component_std that there are.
            PSNR is recorded for a data range of 1, whatever the range of the rows is, and has to be asked for.
        best_epoch : int, optional

        Returns
        -------
        display : HistoryDisplay

        Raises
        ------
        ValueError
            If a quantity was not recorded, or none of those shown by default was.
        """
        known = {name.removeprefix("validation_") for name in history} - {"epoch"}
        if quantities is None:
            quantities = [name for name in _SHOWN if name in known]
        unknown = [name for name in quantities if name.removeprefix("validation_") not in known]
        if unknown or not quantities:
            raise ValueError(
                f"{cls.__name__}: the history has no {', '.join(unknown) or 'quantity that is shown by default'}. "
                f"Pass quantities= from {', '.join(sorted(known))}."
            )
        return cls(history, quantities=quantities, best_epoch=best_epoch)

    def plot(self, axes: Any = None, **plot_kwargs: Any) -> "HistoryDisplay":
        """Draw the panels.

        Parameters
        ----------
        axes : sequence of matplotlib Axes, optional
            One per quantity; by default up to three panels in a line, in a new figure.
        **plot_kwargs
            Passed to ``Axes.plot``.

        Returns
        -------
        self : HistoryDisplay
            With `axes_` and `figure_`.
        """
        n_panels = len(self.quantities)
        figure = None
        if axes is None:
            n_columns = min(n_panels, _MAX_COLUMNS)
            n_lines = ceil(n_panels / n_columns)
            size = (3.0 * n_columns, 2.2 * n_lines + 0.4)
            figure = new_figure(type(self).__name__, figsize=size, layout="constrained")
            axes = [figure.add_subplot(n_lines, n_columns, 1 + panel) for panel in range(n_panels)]
        self.axes_ = list(axes)
        if len(self.axes_) != n_panels:
            raise ValueError(f"{type(self).__name__} has {n_panels} panels, but got {len(self.axes_)} axes.")
        handles: dict[str, Any] = {}
        for ax, quantity in zip(self.axes_, self.quantities):
            handles |= self._draw_panel(ax, quantity.removeprefix("validation_"), plot_kwargs)
        for ax in self.axes_[-min(n_panels, _MAX_COLUMNS) :]:
            ax.set_xlabel("epoch")
        self.figure_ = self.axes_[0].figure
        place = {"loc": "outside upper center", "ncols": len(handles)} if figure is not None else {}
        (self.axes_[0] if figure is None else figure).legend(list(handles.values()), list(handles), **place)
        return self

    def _draw_panel(self, ax: Any, name: str, plot_kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Draw one quantity; return what the legend explains."""
        from matplotlib.ticker import MaxNLocator

        epochs = self.history.get("epoch") or range(1, 1 + len(next(iter(self.history.values()))))
        marker = {"marker": "."} if len(epochs) == 1 else {}
        handles = {}
        for key, label, color in ((name, "training", COLORS[0]), (f"validation_{name}", "validation", COLORS[1])):
            if key in self.history:
                settings = {"color": color, **marker, **plot_kwargs}
                (handles[label],) = ax.plot(epochs, self.history[key], **{"label": label, **settings})
        if self.best_epoch is not None:
            label = f"best epoch: {self.best_epoch}"
            handles[label] = ax.axvline(self.best_epoch, color="0.4", linestyle=":", zorder=0, label=label)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if name == "n_dead":
            ax.yaxis.set_major_locator(MaxNLocator(integer=True))
            ax.set_ylim(0, max(1.0, ax.get_ylim()[1]))
        ax.set_title(_TITLES.get(name, name.replace("_", " ")), fontsize="medium")
        return handles
