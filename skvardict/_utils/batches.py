"""Batches of rows, read from an array or tensor without ever copying the whole of it.

Every epoch has ``ceil(n / batch_size)`` batches whose sizes differ by at most one: the variance hinge has
curvature ``2 beta / (n - 1)``, so that a small batch left over at the end would be a different problem.
"""

import itertools
from collections.abc import Iterator

import numpy as np
import torch


def batch_bounds(n_samples: int, batch_size: int) -> list[int]:
    """Return the ``n_batches + 1`` row offsets of batches that are as equal as can be."""
    n_batches = max(1, -(-n_samples // batch_size))
    return [round(n_samples * index / n_batches) for index in range(n_batches + 1)]


class RowReader:
    """Rows of `X` as tensors on `device`, whatever `X` is: array, read-only memory map or tensor.

    Parameters
    ----------
    X : ndarray or Tensor of shape (n_samples, n_features)
        Never moved or copied as a whole.
    device : torch.device
        Where the rows are wanted.
    """

    def __init__(self, X, device: torch.device, dtype: torch.dtype | None = None):
        self.X = X
        self.device = device
        self.dtype = dtype

    def __len__(self) -> int:
        return self.X.shape[0]

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the given rows (a 1-D index tensor on the CPU), copied."""
        if isinstance(self.X, torch.Tensor):
            return self._place(self.X.index_select(0, rows.to(self.X.device)))
        return self._place(torch.from_numpy(np.take(self.X, rows.numpy(), axis=0)))

    def slice(self, start: int, stop: int) -> torch.Tensor:
        """Return rows `start` to `stop`; shares memory with a tensor, copies from a read-only array."""
        block = self.X[start:stop]
        if isinstance(block, torch.Tensor):
            return self._place(block.detach())
        if not block.flags.writeable:
            block = np.array(block)
        return self._place(torch.from_numpy(np.ascontiguousarray(block)))

    def slices(self, batch_size: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield ``(start, rows)`` over all rows, in order."""
        bounds = batch_bounds(len(self), batch_size)
        for start, stop in itertools.pairwise(bounds):
            yield start, self.slice(start, stop)

    def _place(self, block: torch.Tensor) -> torch.Tensor:
        return block.to(device=self.device, dtype=self.dtype)


class Subset:
    """The rows of `reader` listed in `rows`, itself a reader; nothing is copied until rows are taken."""

    def __init__(self, reader: RowReader, rows: torch.Tensor):
        self.reader = reader
        self.rows = rows
        self.device = reader.device

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the given rows of the subset, copied."""
        return self.reader.take(self.rows[rows])

    def slices(self, batch_size: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield ``(start, rows)`` over all rows of the subset, in order."""
        bounds = batch_bounds(len(self), batch_size)
        for start, stop in itertools.pairwise(bounds):
            yield start, self.reader.take(self.rows[start:stop])


def shuffled_batches(reader, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    """Yield all rows of `reader` once, in the random order drawn from `generator`, batch by batch."""
    order = torch.randperm(len(reader), generator=generator)
    bounds = batch_bounds(len(reader), batch_size)
    for start, stop in itertools.pairwise(bounds):
        yield reader.take(order[start:stop])
