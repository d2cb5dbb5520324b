"""The one place that writes to the terminal, for estimators with ``verbose > 0``."""


def say(text: str) -> None:
    """Print one line at once."""
    print(text, flush=True)  # noqa: T201
