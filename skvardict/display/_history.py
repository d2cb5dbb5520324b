"""How training went."""

from collections.abc import Mapping, Sequence
from typing import Any

from skvardict.display._dictionary import find_model
from skvardict.display._figure import new_figure

# What shows whether a model learns, and whether it collapses.
_SHOWN = ("energy", "psnr", "sparsity", "l1", "n_dead", "component_std")


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
            What to show; by default those of energy, psnr, sparsity, l1, n_dead and component_std that there are.
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
            One per quantity; by default a row of panels in a new figure.
        **plot_kwargs
            Passed to ``Axes.plot``.

        Returns
        -------
        self : HistoryDisplay
            With `axes_` and `figure_`.
        """
        n_panels = len(self.quantities)
        if axes is None:
            figure = new_figure(type(self).__name__, figsize=(3.2 * n_panels, 2.6), layout="constrained")
            axes = figure.subplots(1, n_panels, squeeze=False)[0]
        self.axes_ = list(axes)
        if len(self.axes_) != n_panels:
            raise ValueError(f"{type(self).__name__} has {n_panels} panels, but got {len(self.axes_)} axes.")
        epochs = self.history.get("epoch") or range(1, 1 + len(next(iter(self.history.values()))))
        for ax, quantity in zip(self.axes_, self.quantities):
            name = quantity.removeprefix("validation_")
            for key, label in ((name, "training"), (f"validation_{name}", "validation")):
                if key in self.history:
                    ax.plot(epochs, self.history[key], **{"label": label, **plot_kwargs})
            if self.best_epoch is not None:
                ax.axvline(self.best_epoch, color="0.7", linewidth=0.8, zorder=0)
            ax.set(xlabel="epoch", title=name.replace("_", " "))
            ax.legend()
        self.figure_ = self.axes_[0].figure
        return self
