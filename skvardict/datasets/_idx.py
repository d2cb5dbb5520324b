"""Read and write IDX files, the format of MNIST and its successors.

A file starts with two zero bytes, one byte for the type of the values (8: unsigned byte), one for the number
of axes, then the length of each axis as a big-endian 32-bit integer; the values follow.
"""

import gzip
import hashlib
import math
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from skvardict._utils.files import open_regular

_UNSIGNED_BYTE = 8
_MOST_AXES = 32


def read_idx(path: Path, most_values: int, md5: str | None = None) -> NDArray[np.uint8]:
    """Return the array held by a gzip-compressed IDX file of unsigned bytes.

    No more is decompressed than the header promises, and nothing where it promises more than `most_values`: a small
    file may be that of gigabytes.

    Parameters
    ----------
    path : Path
    most_values : int
        Entries that the array has at most.
    md5 : str, optional
        Expected MD5 of the *uncompressed* content: two compressions of one file differ in their bytes.

    Returns
    -------
    array : read-only ndarray of uint8, with as many axes as the file says

    Raises
    ------
    ValueError
        If the file cannot be decompressed, its checksum differs, its header does not fit its length or promises too
        many values.
    """
    try:
        with open_regular(path) as file, gzip.GzipFile(fileobj=file) as content:
            head = content.read(4)
            head += content.read(4 * head[3] if len(head) == 4 else 0)
            shape = _parse_head(head, path, md5)
            if math.prod(shape) > most_values:
                raise ValueError(
                    f"{path} promises shape {shape}, {math.prod(shape)} values, but at most {most_values} are "
                    f"expected. It is another file{_named(md5)}: delete it and fetch or copy the right one."
                )
            values = content.read(math.prod(shape) + 1)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is not a complete gzip file ({error}). Expected a gzip-compressed IDX file"
            f"{_named(md5)}. Delete it and fetch or copy it again."
        ) from error
    if len(values) != math.prod(shape):
        raise ValueError(
            f"{path} is damaged: its header promises shape {shape}, {math.prod(shape)} values, but "
            f"{len(values) if len(values) < math.prod(shape) else 'more'} follow. Delete it and fetch or copy it again."
        )
    if md5 is not None:
        check_md5([head, values], md5, str(path))
    return np.frombuffer(values, dtype=np.uint8).reshape(shape)


def encode_idx(array: NDArray[np.uint8]) -> bytes:
    """Return the uncompressed IDX file that holds `array`."""
    header = struct.pack(f">HBB{array.ndim}I", 0, _UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, dtype=np.uint8).tobytes()


def check_md5(parts: Iterable[bytes], md5: str, source: str) -> None:
    """Raise a ValueError that names `source` unless the `parts` of its content together have the given MD5."""
    found, size = hashlib.md5(usedforsecurity=False), 0
    for part in parts:
        found.update(part)
        size += len(part)
    if found.hexdigest() != md5:
        raise ValueError(
            f"{source} does not hold the expected data: its uncompressed content should have MD5 {md5}, "
            f"but has {found.hexdigest()} ({size} bytes). Delete it and fetch or copy it again."
        )


def _parse_head(head: bytes, path: Path, md5: str | None) -> tuple[int, ...]:
    """Return the shape that the first bytes of a file promise."""
    is_whole = len(head) >= 4 and len(head) == 4 + 4 * head[3]
    if not is_whole or head[3] > _MOST_AXES or head[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes{_named(md5)}: expected it to start with 00 00 08, "
            f"but got {head[:4].hex(' ')!r}. Delete it and fetch or copy it again."
        )
    return struct.unpack_from(f">{head[3]}I", head, 4)


def _named(md5: str | None) -> str:
    return "" if md5 is None else f" whose content has MD5 {md5}"
