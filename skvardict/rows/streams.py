"""Rows that come in chunks, one after another: shuffled in a buffer, batched, and read again for every epoch."""

from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from typing import Any

import numpy as np
import torch
from torch import Tensor

from skvardict._utils.defaults import caller_settings
from skvardict.functional import to_device
from skvardict.rows.batches import batch_slices
from skvardict.rows.rows import Rows

_END = object()

Chunks = Iterable[Any] | Callable[[], Iterable[Any]]


class ChunkSource:
    """Chunks of rows that can be read from the start, once or more often.

    Parameters
    ----------
    chunks : iterable, iterator or callable
        What it gives goes through :func:`rows_of_batch`.
        An iterable is begun anew for every pass; a callable returns an iterable for every pass; an iterator (a
        generator, say) allows one pass.
    """

    def __init__(self, chunks: Chunks):
        if not callable(chunks) and not isinstance(chunks, Iterable):
            raise TypeError(
                f"fit_stream expects an iterable of arrays or a function that returns one, but got "
                f"{type(chunks).__name__}."
            )
        self._chunks = chunks
        # Not by asking for an iterator: that of a torch DataLoader may start processes.
        self.is_repeatable = callable(chunks) or not isinstance(chunks, Iterator)
        self._pending: Iterator[Any] | None = None

    def first(self) -> Any:
        """Return the first chunk; the next pass begins with it all the same."""
        chunks = self._begin()
        for chunk in chunks:
            if not self.is_repeatable:
                self._pending = chain([chunk], chunks)
            return chunk
        raise ValueError("fit_stream got a stream without chunks. Pass at least one array of rows.")

    def __iter__(self) -> Iterator[Any]:
        pending, self._pending = self._pending, None
        return self._begin() if pending is None else pending

    def _begin(self) -> Iterator[Any]:
        with caller_settings():
            chunks = iter(self._chunks() if callable(self._chunks) else self._chunks)
        while True:
            with caller_settings():
                batch = next(chunks, _END)
            if batch is _END:
                return
            yield rows_of_batch(batch)


def rows_of_batch(batch: Any) -> Any:
    """Return the rows of a batch as a torch DataLoader makes them: a list or tuple of one tensor, or with labels.

    Anything else comes back as it is, a list of rows for instance.

    Raises
    ------
    ValueError
        If there are several blocks of rows.
    """
    if not isinstance(batch, list | tuple) or not batch:
        return batch
    X, *others = batch
    if not isinstance(X, Tensor | np.ndarray) or X.ndim < 2:
        return batch
    if any(np.ndim(other) > 1 for other in others):
        shapes = ", ".join(str(tuple(np.shape(part))) for part in batch)
        raise ValueError(
            f"fit_stream learns from one block of rows per batch, or from rows with one-dimensional labels, which are "
            f"ignored; but a batch holds arrays of shapes {shapes}. Pass what is to be learnt: "
            "lambda: (X for X, *_ in loader)."
        )
    return X


class Stream:
    """The rows of a stream in batches, in random order as far as a buffer allows; trained on as :class:`Rows` are.

    Rows fill a buffer; whenever it is full a batch is drawn from it at random. What is left at the end is permuted and
    cut into batches that differ by at most one row.

    Parameters
    ----------
    source : ChunkSource
    first : Rows
        The first chunk, which decides on device and dtype.
    check : callable
        Returns a chunk as :class:`Rows`, or raises.
    buffer_rows : int
        Rows held at a time; twice the batch size where that is more.
    """

    X = None  # nobody has all rows together

    def __init__(self, source: ChunkSource, first: Rows, check: Callable[[Any], Rows], buffer_rows: int):
        self.source = source
        self.first = first
        self.check = check
        self.buffer_rows = buffer_rows
        self._n_rows = 0

    def __len__(self) -> int:
        """Rows of the last pass; 0 before the end of the first."""
        return self._n_rows

    def at_hand(self) -> "Stream":
        """Return the stream: it has more rows than are held anywhere."""
        return self

    def mean_batch_size(self, batch_size: int) -> float:
        """Return the number of rows in the batches of a pass, all but the last ones."""
        return batch_size

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield all rows of one pass, batch by batch, in an order drawn from `generator`."""
        capacity = max(self.buffer_rows, 2 * batch_size)
        device, dtype = self.first.device, self.first.dtype
        buffer: torch.Tensor | None = None
        n_held = n_rows = 0
        for block in self._blocks(capacity):
            if buffer is None:
                buffer = torch.empty((capacity, block.shape[1]), dtype=dtype)
            n_rows += len(block)
            while len(block):
                n_taken = min(len(block), capacity - n_held)
                buffer[n_held : n_held + n_taken] = block[:n_taken]
                n_held, block = n_held + n_taken, block[n_taken:]
                if n_held == capacity:
                    order = torch.randperm(capacity, generator=generator)
                    yield to_device(buffer[order[:batch_size]], device)
                    # The rows that stay close the gaps.
                    buffer[: capacity - batch_size] = buffer[order[batch_size:]]
                    n_held -= batch_size
        if buffer is None or n_rows < 2:
            raise ValueError(f"A stream of at least 2 rows is expected, but {n_rows} came.")
        self._n_rows = n_rows
        order = torch.randperm(n_held, generator=generator)
        for where in batch_slices(n_held, batch_size):
            yield to_device(buffer[order[where]], device)

    def _blocks(self, most_rows: int) -> Iterator[torch.Tensor]:
        cpu = torch.device("cpu")
        for number, chunk in enumerate(self.source, start=1):
            try:
                rows = self.check(chunk)
            except ValueError as error:
                raise ValueError(f"Chunk {number} of the stream: {error}") from error
            # A chunk may be a memory map larger than memory.
            rows = rows.to(cpu, self.first.dtype, f"chunk {number} of the stream")
            for start in range(0, len(rows), most_rows):
                yield rows.read(start, start + most_rows)
