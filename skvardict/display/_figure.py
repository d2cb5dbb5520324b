"""What all displays need of matplotlib, imported when something is drawn."""

from collections.abc import Iterator
from itertools import cycle
from typing import Any

# Okabe and Ito's colours: they differ for every kind of colour vision, on white and on dark grey.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
_MARKERS = ("o", "s", "^", "D", "v", "P")


def line_styles() -> Iterator[dict[str, Any]]:
    """Return colours and markers of one line after the other; after six lines they come again, dashed and dotted."""
    dashes: tuple[dict[str, Any], ...] = ({}, {"linestyle": "--"}, {"linestyle": ":"})
    return cycle(
        {"color": color, "marker": marker, **dash} for dash in dashes for color, marker in zip(COLORS, _MARKERS)
    )


def new_axes(display: str, **parameters: Any) -> Any:
    """Return axes of a new figure."""
    return new_figure(display, **{"layout": "constrained", **parameters}).subplots()


def new_figure(display: str, **parameters: Any) -> Any:
    """Return a new figure.

    Raises
    ------
    ImportError
        If matplotlib is missing; names the display.
    """
    try:
        import matplotlib.pyplot as plt  # noqa: TID251
    except ImportError as error:
        raise ImportError(f"{display}.plot needs matplotlib, which is not installed: pip install matplotlib") from error
    return plt.figure(**parameters)
