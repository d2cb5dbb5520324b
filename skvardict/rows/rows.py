"""X at the edge of an estimator: checked once, read in pieces, results in the caller's kind of container."""

from collections import deque
from collections.abc import Callable, Iterator
from copy import copy
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor

from skvardict._utils.messages import warn
from skvardict.functional import to_device
from skvardict.rows.batches import batch_slices, mean_batch_size
from skvardict.rows.checks import (
    BLOCK_ENTRIES,
    float_dtype,
    has_finite_sum,
    require_finite,
    validate_columns,
    validate_rows,
)
from skvardict.rows.device import resolve_device
from skvardict.rows.maps import BYTES_PER_FAULT, MappedPages

ROWS_PER_CHUNK = 4096  # rows computed with at a time: bounds memory, whatever the number of rows

_FEW_ROWS = 16

Result = TypeVar("Result")


class Rows:
    """Rows of `X` as tensors on a device, whatever `X` is: array, read-only memory map or tensor.

    `X` is never moved or copied as a whole. Rows of an array are copied into torch's own memory: where they lie in `X`
    must not decide how products round. A memory map is checked for NaN and infinity as its rows are read, and its
    pages are let go again.

    Parameters
    ----------
    X : ndarray or Tensor of shape (n_samples, n_features)
        Real numbers; `check` and `check_columns` make sure of that.
    device : "auto", str or torch.device, default="cpu"
        Where the rows are wanted; that of a tensor wins.
    name : str, default="X"
        What errors call the rows.
    owner : str, default=""
        Class or function that reads them, in messages.

    Attributes
    ----------
    device : torch.device
    dtype : torch.dtype
        That of results: float64 stays what it is, everything else becomes float32.
    is_tensor : bool
        Whether the caller gave a tensor and gets tensors back.
    n_features : int
    index : Tensor or None
        Which rows of `X` these are, where they are not all.
    allow_nan : bool
        Whether entries may be missing.
    """

    def __init__(self, X, *, device="cpu", name: str = "X", owner: str = ""):
        self.X: Any = X
        self.device = resolve_device(device, X)
        self.dtype = torch.float64 if float_dtype(X) in (np.float64, torch.float64) else torch.float32
        self.name = name
        self.owner = owner
        self.is_tensor = isinstance(X, Tensor)
        self.n_features: int = X.shape[1]
        self.index: Tensor | None = None
        self.allow_nan = False
        self._pages = MappedPages(X)

    @classmethod
    def check(cls, estimator, X, *, reset: bool) -> "Rows":
        """Return the rows of `X`, finite real numbers; check or set (`reset`) the features of `estimator`.

        They are wanted on its `device`, where it has such a parameter.
        """
        return cls._of(estimator, validate_rows(estimator, X, reset=reset), "X")

    @classmethod
    def check_columns(cls, estimator, X, name: str = "X") -> "Rows":
        """Return other rows with the features of the fit, called `name`; the names of features may be others, or none.

        Results of `transform` have other names, for instance. The same names in another order are refused.
        """
        return cls._of(estimator, validate_columns(estimator, X, name), name)

    @classmethod
    def _of(cls, estimator, X, name: str) -> "Rows":
        rows = cls(X, device=getattr(estimator, "device", "cpu"), name=name, owner=type(estimator).__name__)
        rows.allow_nan = getattr(estimator, "_allows_missing", False)
        rows._require_finite()
        return rows

    def to(self, device: torch.device | None = None, dtype: torch.dtype | None = None, name: str = "") -> "Rows":
        """Return the same rows for another device, dtype or name; nothing is moved before it is read."""
        other = copy(self)
        other.device, other.dtype = device or self.device, dtype or self.dtype
        other.name = name or self.name
        return other

    def subset(self, index: Tensor) -> "Rows":
        """Return the rows listed in `index`; nothing is copied before they are taken."""
        other = copy(self)
        other.index = index if self.index is None else self.index[index]
        return other

    def split(self, n_held_out: int, generator: torch.Generator) -> tuple["Rows", "Rows | None"]:
        """Return all but `n_held_out` rows, and these, drawn from `generator` (None where there are none)."""
        if n_held_out == 0:
            return self, None
        order = torch.randperm(len(self), generator=generator)
        return self.subset(order[n_held_out:].sort().values), self.subset(order[:n_held_out].sort().values)

    def __len__(self) -> int:
        return self.X.shape[0] if self.index is None else len(self.index)

    @property
    def exact_dtype(self) -> torch.dtype:
        """The dtype for sums: float64, where the device has it."""
        return torch.float32 if self.device.type == "mps" else torch.float64

    @property
    def first(self) -> "Rows":
        """What can be looked at before training: all rows, or the first chunk of a stream."""
        return self

    def at_hand(self) -> "Rows":
        """Return the rows held on the GPU, for use again and again, where they take at most half of its free memory."""
        if self.device.type != "cuda" or isinstance(self.X, Tensor):
            return self
        dtype = torch.uint8 if self.X.dtype == np.uint8 else self.dtype
        n_bytes = len(self) * self.n_features * dtype.itemsize
        if 2 * n_bytes > torch.cuda.mem_get_info(self.device)[0]:
            return self
        held = torch.empty((len(self), self.n_features), dtype=dtype, device=self.device)
        for where, block in self.to(dtype=dtype).blocks():
            held[where] = block
        other = copy(self)
        other.X, other.index, other._pages = held, None, MappedPages(held)
        return other

    @property
    def seen(self) -> Any:
        """What the rows are told from others by, in a checkpoint."""
        return self.X

    # --- rows as tensors ----------------------------------------------------------------------------------------------

    def take(self, rows: Tensor) -> Tensor:
        """Return the given rows (a 1-D index tensor on the CPU), copied."""
        return self._take(self.numbers(rows))

    def numbers(self, rows: Tensor) -> Tensor:
        """Return which rows of `X` the given rows are."""
        return rows if self.index is None else self.index[rows]

    def whole(self) -> "Rows":
        """Return all rows of `X`."""
        other = copy(self)
        other.index = None
        return other

    def read(self, start: int = 0, stop: int | None = None) -> Tensor:
        """Return rows `start` to `stop`; shares memory with a tensor, copies from an array."""
        if self.index is not None:
            return self._take(self.index[start:stop])
        part = self.X[start:stop]
        if isinstance(part, Tensor):
            return self._place(part.detach())
        block = self._allocate(len(part))
        block.numpy()[...] = part
        self._pages.count(block.nbytes)
        return self._place(self._check(block, start))

    def slices(self, batch_size: int = ROWS_PER_CHUNK) -> Iterator[tuple[slice, Tensor]]:
        """Yield positions and values of all rows, in order, `batch_size` or less at a time."""
        for where in batch_slices(len(self), batch_size):
            yield where, self.read(where.start, where.stop)

    def blocks(self) -> Iterator[tuple[slice, Tensor]]:
        """Yield positions and values of all rows, in blocks of about 8 MB."""
        return self.slices(max(1, BLOCK_ENTRIES // self.n_features))

    def shuffled(self, batch_size: int, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield all rows once, batch by batch, in the random order drawn from `generator`."""
        order = self.numbers(torch.randperm(len(self), generator=generator))
        if isinstance(self.X, Tensor):
            order = to_device(order, self.X.device)
        for where in batch_slices(len(self), batch_size):
            yield self._take(order[where])

    def shuffled_order(self, batch_size: int, generator: torch.Generator) -> list[Tensor]:
        """Return the numbers of the rows in the batches of :meth:`shuffled`."""
        order = torch.randperm(len(self), generator=generator)
        return [order[where] for where in batch_slices(len(self), batch_size)]

    def mean_batch_size(self, batch_size: int) -> float:
        """Return the mean number of rows in the batches of `shuffled`."""
        return mean_batch_size(len(self), batch_size)

    def in_chunks(
        self, compute: Callable[[Tensor], Result], most_rows: int = ROWS_PER_CHUNK
    ) -> Iterator[tuple[slice, Result]]:
        """Yield positions of rows and ``compute(rows)``; where a GPU's memory does not suffice, in smaller chunks."""
        chunks = deque(batch_slices(len(self), most_rows))
        limit = most_rows
        while chunks:
            rows = chunks.popleft()
            n_rows = rows.stop - rows.start
            if n_rows > limit:
                middle = rows.start + n_rows // 2
                chunks.extendleft([slice(middle, rows.stop), slice(rows.start, middle)])
                continue
            try:
                with torch.no_grad():
                    result = compute(self.read(rows.start, rows.stop))
            except torch.OutOfMemoryError:
                if n_rows == 1:
                    raise
                if limit == most_rows:
                    warn(
                        f"{self.owner}: no memory on {self.device} for chunks of {n_rows} rows; going on with smaller "
                        "ones. Free memory there, or use device='cpu'."
                    )
                limit = n_rows // 2
                chunks.appendleft(rows)
            else:
                yield rows, result

    # --- results in the caller's kind of container --------------------------------------------------------------------

    def new_rows(self, n_columns: int | None = None, dtype: torch.dtype | None = None):
        """Return as many uninitialised rows, of `n_columns` or one number each."""
        shape = (len(self),) if n_columns is None else (len(self), n_columns)
        new = torch.empty(shape, dtype=dtype or self.dtype, device=self.X.device if self.is_tensor else None)
        return new if self.is_tensor else new.numpy()

    @property
    def are_few(self) -> bool:
        """Whether these are so few rows on the CPU that containers for chunks would cost as much as the results."""
        return len(self) <= _FEW_ROWS and self.device.type == "cpu"

    def own(self, result: Tensor):
        """Return `result` in the caller's kind of container, in memory of its own."""
        if result.is_floating_point():
            result = result.to(self.dtype)
        if self.is_tensor:
            return result.clone(memory_format=torch.contiguous_format)
        return np.array(result.numpy(), order="C")

    def give_back(self, result: Tensor):
        """Return `result` as the caller's kind of container."""
        return result if self.is_tensor else result.cpu().numpy()

    def check_out(self, out, n_columns: int):
        """Return `out` if results of `n_columns` per row can be written into it.

        Raises
        ------
        ValueError
            If it is of another kind or shape, not writeable, or does not hold floating point numbers.
        """
        expected = (len(self), n_columns)
        same_kind = isinstance(out, Tensor) == self.is_tensor and isinstance(out, Tensor | np.ndarray)
        if not same_kind or tuple(out.shape) != expected:
            raise ValueError(
                f"{self.owner}.transform expects out to be {'a tensor' if self.is_tensor else 'an array'} of shape "
                f"{expected}, but got {type(out).__name__} of shape {getattr(out, 'shape', None)}."
            )
        is_writeable = isinstance(out, Tensor) or out.flags.writeable
        if not is_writeable or not (out.is_floating_point() if isinstance(out, Tensor) else out.dtype.kind == "f"):
            raise ValueError(
                f"{self.owner}.transform cannot write codes into out, of {out.dtype} and "
                f"{'' if is_writeable else 'not '}writeable. Pass writeable floating point numbers."
            )
        return out

    # --- reading ------------------------------------------------------------------------------------------------------

    def _take(self, rows: Tensor) -> Tensor:
        if isinstance(self.X, Tensor):
            # Detached, or training would leave gradients in it.
            return self._place(self.X.detach().index_select(0, to_device(rows, self.X.device)))
        block = self._allocate(len(rows))
        # The system may map two megabytes for every row that is touched: let go after a few of them.
        piece = MappedPages.BYTES_HELD // BYTES_PER_FAULT if self._pages.are_mapped else max(1, len(rows))
        for start in range(0, len(rows), piece):
            self._gather(rows[start : start + piece].numpy(), block[start : start + piece].numpy())
            self._pages.count(piece * BYTES_PER_FAULT)
        return self._place(self._check(block, rows))

    def _allocate(self, n_rows: int) -> Tensor:
        shape, dtype = (n_rows, *self.X.shape[1:]), _torch_dtype(self.X.dtype)
        # From pinned memory rows go to a GPU while the host reads the next ones.
        return torch.empty(shape, dtype=dtype, device="cpu", pin_memory=self.device.type == "cuda")

    def _gather(self, rows: np.ndarray, block: np.ndarray) -> None:
        if self.X.flags.c_contiguous and block.dtype == self.X.dtype:
            # The mode only spares a buffer: rows are in range.
            np.take(self.X, rows, axis=0, out=block, mode="clip")
        else:
            block[...] = self.X[rows]

    def _check(self, block: Tensor, rows: Tensor | int) -> Tensor:
        if self._pages.are_mapped:
            require_finite(self._label, block, rows, allow_nan=self.allow_nan)
        return block

    def _place(self, block: Tensor) -> Tensor:
        if self.device.type == "cuda" and block.device.type == "cpu":
            block = block.to(self.device, non_blocking=True)
        return block.to(device=self.device, dtype=self.dtype)

    def _require_finite(self) -> None:
        """Raise a ValueError where there is NaN or infinity; a memory map is checked as its rows are read."""
        if self.is_tensor:
            require_finite(self._label, self.X.detach(), 0, allow_nan=self.allow_nan)
        elif self.X.dtype.kind == "f" and not self._pages.are_mapped and not has_finite_sum(self.X):
            for where, block in self.to(torch.device("cpu")).blocks():
                require_finite(self._label, block, where.start, allow_nan=self.allow_nan)

    @property
    def _label(self) -> str:
        return f"{self.owner}: {self.name}" if self.owner else self.name


@lru_cache
def _torch_dtype(dtype: np.dtype) -> torch.dtype:
    """Return the dtype of rows read from an array: torch's of the same kind, float64 where it has none."""
    has_one = dtype.isnative and dtype.itemsize <= 8
    return torch.from_numpy(np.empty(0, dtype if has_one else np.float64)).dtype
