"""Batches of rows, read from an array or tensor without ever copying the whole of it.

Every epoch has ``ceil(n / batch_size)`` batches whose sizes differ by at most one: the variance hinge has
curvature ``2 beta / (n - 1)``, so that a small batch left over at the end would be a different problem.
"""

import itertools
import mmap
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch


def batch_bounds(n_samples: int, batch_size: int) -> list[int]:
    """Return the ``n_batches + 1`` row offsets of batches that are as equal as can be."""
    n_batches = _n_batches(n_samples, batch_size)
    return [round(n_samples * index / n_batches) for index in range(n_batches + 1)]


def rows_per_batch(n_samples: int, batch_size: int) -> float:
    """Return the mean number of rows in the batches of :func:`batch_bounds`."""
    return n_samples / _n_batches(n_samples, batch_size)


def _n_batches(n_samples: int, batch_size: int) -> int:
    return max(1, -(-n_samples // batch_size))


_BYTES_PER_FAULT = 2**21  # what the system maps at most for a page that is touched


class RowReader:
    """Rows of `X` as tensors on `device`, whatever `X` is: array, read-only memory map or tensor.

    Rows of an array are copied into torch's own memory: where they lie in `X` must not decide how products round.
    A memory map is checked for NaN and infinity as its rows are read, and its pages are let go again.

    Parameters
    ----------
    X : ndarray or Tensor of shape (n_samples, n_features)
        Never moved or copied as a whole.
    device : torch.device
        Where the rows are wanted.
    dtype : torch.dtype or None
        What the rows become; None keeps theirs.
    name : str
        Of `X`, in errors.
    """

    def __init__(self, X, device: torch.device, dtype: torch.dtype | None = None, name: str = "X"):
        # Detached, or training would leave gradients in it.
        self.X: Any = X.detach() if isinstance(X, torch.Tensor) else X
        self.device = device
        self.dtype = dtype
        self.name = name
        self._pages = MappedPages(X)

    def __len__(self) -> int:
        return self.X.shape[0]

    def take(self, rows: torch.Tensor) -> torch.Tensor:
        """Return the given rows (a 1-D index tensor on the CPU), copied."""
        if isinstance(self.X, torch.Tensor):
            return self._place(self.X.index_select(0, rows.to(self.X.device)))
        block = self._allocate(len(rows))
        # The system may map two megabytes for every row that is touched: let go after a few of them.
        piece = MappedPages.BYTES_HELD // _BYTES_PER_FAULT if self._pages.are_mapped else max(1, len(rows))
        for start in range(0, len(rows), piece):
            self._gather(rows[start : start + piece].numpy(), block[start : start + piece].numpy())
            self._pages.count(piece * _BYTES_PER_FAULT)
        return self._place(self._check(block, rows))

    def slice(self, start: int, stop: int) -> torch.Tensor:
        """Return rows `start` to `stop`; shares memory with a tensor, copies from an array."""
        part = self.X[start:stop]
        if isinstance(part, torch.Tensor):
            return self._place(part)
        block = self._allocate(len(part))
        block.numpy()[...] = part
        self._pages.count(block.nbytes)
        return self._place(self._check(block, start))

    def slices(self, batch_size: int) -> Iterator[tuple[int, torch.Tensor]]:
        """Yield ``(start, rows)`` over all rows, in order."""
        bounds = batch_bounds(len(self), batch_size)
        for start, stop in itertools.pairwise(bounds):
            yield start, self.slice(start, stop)

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield all rows once, batch by batch, in the random order drawn from `generator`."""
        return _shuffled(self, batch_size, generator)

    def _allocate(self, n_rows: int) -> torch.Tensor:
        dtype = self.X.dtype if self.X.dtype.isnative and self.X.dtype.itemsize <= 8 else np.dtype(np.float64)
        return torch.empty((n_rows, *self.X.shape[1:]), dtype=torch.from_numpy(np.empty(0, dtype)).dtype)

    def _gather(self, rows: np.ndarray, block: np.ndarray) -> None:
        if self.X.flags.c_contiguous and block.dtype == self.X.dtype:
            # The mode only spares a buffer: rows are in range.
            np.take(self.X, rows, axis=0, out=block, mode="clip")
        else:
            block[...] = self.X[rows]

    def _check(self, block: torch.Tensor, rows) -> torch.Tensor:
        if self._pages.are_mapped:
            require_finite(self.name, block, rows)
        return block

    def _place(self, block: torch.Tensor) -> torch.Tensor:
        return block.to(device=self.device, dtype=self.dtype)


class MappedPages:
    """The pages of a memory-mapped file, given back to the system after every so many bytes.

    A process that reads through a map holds all pages it has touched, in the end the whole file. Letting them go
    loses nothing: they stay in the system's cache, changes included.
    """

    BYTES_HELD = 2**26

    def __init__(self, array):
        self._map = _shared_map(array)
        self._n_bytes = 0

    @property
    def are_mapped(self) -> bool:
        """Whether the array lies in a file."""
        return self._map is not None

    def count(self, n_bytes: int) -> None:
        """Note that `n_bytes` were touched; now and then let the pages go."""
        self._n_bytes += n_bytes
        if self._map is not None and self._n_bytes >= self.BYTES_HELD:
            self._n_bytes = 0
            self._map.madvise(mmap.MADV_DONTNEED)


def _shared_map(array) -> Any:
    """Return the mapping of the file that `array` is a view of; None where there is none, or it is copy-on-write."""
    while isinstance(array, np.ndarray):
        if isinstance(array, np.memmap) and getattr(array, "_mmap", None) is not None:
            # Letting go of a copy-on-write map ("c") would lose what was written to it.
            is_shared = array.mode in ("r", "r+", "w+") and hasattr(mmap, "MADV_DONTNEED")
            return array._mmap if is_shared else None  # type: ignore[attr-defined]
        array = array.base
    return None


def require_finite(name: str, block: torch.Tensor, rows) -> None:
    """Raise a ValueError that names the rows of `block` that are not finite; `rows` are their numbers, or the first."""
    if not block.is_floating_point() or bool(torch.isfinite(block).all()):
        return
    bad = (~torch.isfinite(block)).any(dim=1).nonzero().squeeze(1).cpu()
    numbers = rows[bad].sort().values.tolist() if isinstance(rows, torch.Tensor) else (bad + rows).tolist()
    shown = ", ".join(map(str, numbers[:5])) + (", ..." if len(numbers) > 5 else "")
    raise ValueError(
        f"{name} contains NaN or infinity in {len(numbers)} of the {len(block)} rows read last: row "
        f"{shown}. Remove or repair these rows."
    )


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

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
        """Yield all rows of the subset once, batch by batch, in the random order drawn from `generator`."""
        return _shuffled(self, batch_size, generator)


def _shuffled(reader: "RowReader | Subset", batch_size: int, generator: torch.Generator) -> Iterator[torch.Tensor]:
    order = torch.randperm(len(reader), generator=generator)
    bounds = batch_bounds(len(reader), batch_size)
    for start, stop in itertools.pairwise(bounds):
        yield reader.take(order[start:stop])
