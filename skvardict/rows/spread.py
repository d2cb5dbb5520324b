"""Rows that several processes fit to together, as each of them sees them."""

from collections.abc import Iterator
from typing import Any, overload

import torch
from torch import Tensor

from skvardict._utils.random import make_generator
from skvardict._utils.ranks import Batch, Ranks, pick_held, raise_failures
from skvardict.rows.batches import batch_slices
from skvardict.rows.rows import ROWS_PER_CHUNK, Rows
from skvardict.rows.streams import Stream

_ROWS_TO_KNOW = 128  # by which rows that lie in several processes are told from others

Part = tuple[Tensor, Tensor | None]  # rows of a batch, and where they stand in it (None: one process after the other)


class SpreadRows(Rows):
    """Rows numbered over all processes: each has all of them, or rows that follow those of the process before.

    Rows that are taken or read are the same in all processes, which ask together; batches and slices are the part of
    each. Random orders are drawn in common, so that the batches are those of one process with all rows.

    Parameters
    ----------
    rows : Rows
        Those of this process.
    ranks : Ranks
    """

    def __init__(self, rows: Rows, ranks: Ranks):
        vars(self).update(vars(rows))
        counts = ranks.gather(len(rows))
        is_shard = ranks.holds == "shard"
        self._ranks = ranks
        self._start = sum(counts[: ranks.index]) if is_shard else 0
        self._n_own = len(rows)
        self._n_all = sum(counts) if is_shard else len(rows)
        self._seen = (self._n_all, self.read(0, _ROWS_TO_KNOW).cpu().numpy()) if is_shard else rows.seen

    def __len__(self) -> int:
        return self._n_all if self.index is None else len(self.index)

    @property
    def seen(self) -> Any:
        """What the rows are told from others by: all, or their number and the first where each process has some."""
        return self._seen

    def at_hand(self) -> "SpreadRows":
        """Return the rows where they are: a process uses a part of them."""
        return self

    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return rows `start` to `stop`, in all processes."""
        return self.take(torch.arange(len(self))[start:stop])

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the part of this process of every batch, in the random order drawn from `generator`."""
        batches = iter(self.shuffled_order(batch_size, generator))
        return in_step(self._ranks, map(self._part, batches), self._empty())

    def slices(self, batch_size: int = ROWS_PER_CHUNK) -> Iterator[tuple[slice, Tensor]]:
        """Yield positions of the rows that all processes have at a time, and the part of this one."""
        wheres = list(batch_slices(len(self), batch_size))
        numbers = (torch.arange(where.start, where.stop) for where in wheres)
        return zip(wheres, in_step(self._ranks, map(self._part, numbers), self._empty()))

    def _empty(self) -> Tensor:
        return super()._take(torch.arange(0))

    def _take(self, rows: Tensor) -> Tensor:
        if self._ranks.holds == "same":
            return super()._take(rows)
        return pick_held(super()._take, self._places(rows))

    def _part(self, rows: Tensor) -> Part:
        numbers = self.numbers(rows)
        if self._ranks.holds == "same":
            return super()._take(numbers[own_slice(len(numbers), self._ranks)]), None
        places = self._places(numbers)
        (positions,) = (places >= 0).nonzero(as_tuple=True)
        return super()._take(places[positions]), positions

    def _places(self, numbers: Tensor) -> Tensor:
        """Return where this process has the rows of these numbers; -1 where it has not."""
        places = numbers - self._start
        return torch.where((places >= 0) & (places < self._n_own), places, -1)


class SpreadStream(Stream):
    """A stream that several processes read: all the same, or each its own.

    In the latter case a batch is made of one batch from the buffer of each; processes whose stream has ended wait.

    Parameters
    ----------
    stream : Stream
        That of this process.
    ranks : Ranks
    """

    first: SpreadRows

    def __init__(self, stream: Stream, ranks: Ranks):
        vars(self).update(vars(stream))
        self._ranks = ranks
        self.first = SpreadRows(stream.first, ranks)
        self._n_all = 0

    def __len__(self) -> int:
        """Rows of the last pass, of all processes."""
        return self._n_all

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield the part of this process of every batch of one pass, in an order drawn from `generator`."""
        n_rows = 0
        for batch in in_step(self._ranks, self._parts(batch_size, generator), self.first._empty()):
            n_rows += self._ranks.batch.n_rows if self._ranks.batch is not None else 0
            yield batch
        self._n_all = n_rows

    def _parts(self, batch_size: int, generator: torch.Generator) -> Iterator[Part]:
        if self._ranks.holds == "same":
            for batch in super().shuffled(batch_size, generator):
                yield batch[own_slice(len(batch), self._ranks)], None
            return
        # Streams of unequal length draw unequally often: from the common generator one seed, whatever comes.
        seed = int(torch.randint(2**31 - 1, (), generator=generator))
        where = own_slice(batch_size, self._ranks)
        for batch in super().shuffled(where.stop - where.start, make_generator(seed + self._ranks.index)):
            yield batch, None


@overload
def spread(rows: Rows, ranks: Ranks) -> SpreadRows: ...


@overload
def spread(rows: Stream, ranks: Ranks) -> SpreadStream: ...


def spread(rows: Rows | Stream, ranks: Ranks) -> SpreadRows | SpreadStream:
    """Return rows or a stream as the processes `ranks` work through them together."""
    return SpreadRows(rows, ranks) if isinstance(rows, Rows) else SpreadStream(rows, ranks)


def own_slice(n_rows: int, ranks: Ranks) -> slice:
    """Return which of `n_rows` rows that all have are for this process: equal parts, in the order of the processes."""
    start, stop = (round(n_rows * index / ranks.size) for index in (ranks.index, ranks.index + 1))
    return slice(start, stop)


def in_step(ranks: Ranks, parts: Iterator[Part], empty: Tensor) -> Iterator[Tensor]:
    """Yield the rows of `parts`, batch by batch in step with the other processes, and say to all what a batch is.

    A process that has no more rows gets `empty` ones until all have ended; one that fails lets all fail.
    """
    while True:
        rows, positions, error = None, None, None
        try:
            rows, positions = next(parts, (None, None))
        except Exception as own:
            error = own
        said = torch.zeros(ranks.size + 2, dtype=torch.int64)
        said[ranks.index] = 0 if rows is None else len(rows)
        said[-2:] = torch.tensor([rows is None, error is not None])
        *counts, n_ended, n_failed = ranks.reduce_(said).tolist()
        if n_failed:
            texts = ranks.gather(None if error is None else f"{type(error).__name__}: {error}")
            if error is not None:
                raise error
            raise_failures(texts)
        if n_ended == ranks.size:
            ranks.batch = None
            return
        start = sum(counts[: ranks.index])
        if positions is None:
            positions = torch.arange(start, start + counts[ranks.index])
        ranks.batch = Batch(sum(counts), positions)
        yield empty if rows is None else rows
