"""What users read: the one place that writes to the terminal (``verbose > 0``), and values in messages."""

from numbers import Real


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)  # noqa: T201


def shown(value) -> str:
    """Return a number in few digits, anything else as it prints."""
    return f"{value:g}" if isinstance(value, Real) and value is not True and value is not False else str(value)
