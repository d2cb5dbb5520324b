"""Memory-mapped files, read without holding their pages."""

import mmap
from typing import Any

import numpy as np

BYTES_PER_FAULT = 2**21  # what the system maps at most for a page that is touched


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
