"""What users read: the one place that writes to the terminal (``verbose > 0``), and values in messages."""

import logging
import sys
import warnings
from numbers import Real

from skvardict._utils import ranks

_BETWEEN = {"skvardict", "sklearn", "torch", "contextlib"}  # whose frames lie between a warning and the user's line


class _Printer(logging.Handler):
    """Prints to what is standard output at the time, at once: where users of scikit-learn look for such lines."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), flush=True)  # noqa: T201


_logger = logging.getLogger("skvardict")
_logger.setLevel(logging.INFO)
if not _logger.handlers:  # or the user has been here first
    _logger.addHandler(_Printer())


def say(text: str) -> None:
    """Log one line as "skvardict"; unless users take away the handler, it is printed. One process speaks for all."""
    if ranks.is_first():
        _logger.info("%s", text)


def duration(seconds: float) -> str:
    """Return a time in at most six characters: 12.3s, 4m05s, 2h10m."""
    if seconds < 99.95:
        return f"{seconds:.1f}s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}m{rest:02d}s" if minutes < 100 else f"{minutes // 60}h{minutes % 60:02d}m"


def warn(text: str, category: type[Warning] = UserWarning) -> None:
    """Warn at the line of the user, however deep in the package this is called; one process does for all."""
    if not ranks.is_first():
        return
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in _BETWEEN:
        frame, level = frame.f_back, level + 1
    warnings.warn(text, category, stacklevel=level)


def is_called_from(*packages: str) -> bool:
    """Return whether a function of one of these packages is among the callers."""
    frame = sys._getframe(1).f_back
    while frame is not None:
        if f"{frame.f_globals.get('__name__', '')}.".startswith(tuple(f"{package}." for package in packages)):
            return True
        frame = frame.f_back
    return False


def shown(value) -> str:
    """Return a number in few digits, anything else as it prints."""
    return f"{value:g}" if isinstance(value, Real) and value is not True and value is not False else str(value)
