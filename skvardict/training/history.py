"""What is recorded per epoch, and when to stop."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from typing import Any

History = dict[str, list]


def append_epoch(history: History, entries: Mapping[str, float]) -> None:
    """Append one epoch; a quantity that appears late or is missing now is nan where it has no value."""
    length = len(next(iter(history.values()), []))
    for name, value in entries.items():
        history.setdefault(name, [float("nan")] * length).append(value)
    for name in history.keys() - entries.keys():
        history[name].append(float("nan"))


def last_count(history: History, name: str) -> int:
    """Return the last entry of a count; 0 where nothing was counted."""
    column = history.get(name)
    return int(column[-1]) if column else 0


def is_table(history: Any) -> bool:
    """Return whether `history` has columns of numbers, all of one length."""
    if not isinstance(history, dict):
        return False
    columns = list(history.values())
    return all(_is_column(column) for column in columns) and len({len(column) for column in columns}) <= 1


def _is_column(values: Any) -> bool:
    """Return whether `values` is a list of numbers, none of them too long for an array."""
    return isinstance(values, list) and all(
        type(value) is float or (type(value) is int and abs(value) < 2**63) for value in values
    )


@dataclass
class Patience:
    """Counts epochs without a relative improvement of more than `tol`.

    ``improved`` compares with the best energy so far, whatever `tol`: the best state is the best state.
    """

    n_iter_no_change: int
    tol: float
    best: float = inf
    reference: float = inf
    n_stale: int = 0

    def update(self, energy: float, *, counts: bool = True) -> bool:
        """Take the energy of an epoch; return whether it is the best so far.

        An epoch in which rates still follow a schedule does not count against the patience.
        """
        margin = self.tol * abs(self.reference) if self.reference < inf else 0.0
        if energy < self.reference - margin:
            self.reference, self.n_stale = energy, 0
        else:
            self.n_stale += counts
        improved = energy < self.best
        self.best = min(self.best, energy)
        return improved

    @property
    def is_exhausted(self) -> bool:
        """Whether patience has run out."""
        return self.n_stale >= self.n_iter_no_change
