"""What users read: the one place that writes to the terminal (``verbose > 0``), and values in messages."""

import sys
import warnings
from numbers import Real

_BETWEEN = {"skvardict", "sklearn", "torch", "contextlib"}  # whose frames lie between a warning and the user's line


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)  # noqa: T201


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user, however deep in the package this is called."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def shown(value) -> str:
    """Return a number in few digits, anything else as it prints."""
    return f"{value:g}" if isinstance(value, Real) and value is not True and value is not False else str(value)
