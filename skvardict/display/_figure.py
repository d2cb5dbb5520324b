"""What all displays need of matplotlib, imported when something is drawn."""

from typing import Any


def new_axes(display: str) -> Any:
    """Return axes of a new figure."""
    return new_figure(display).subplots()


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
