"""Read and write IDX files, the format of MNIST and its successors.

A file starts with two zero bytes, one byte for the type of the values (8: unsigned byte), one for the number
of axes, then the length of each axis as a big-endian 32-bit integer; the values follow.
"""

import gzip
import hashlib
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_UNSIGNED_BYTE = 8


def read_idx(path: Path, md5: str | None = None) -> NDArray[np.uint8]:
    """Return the array held by a gzip-compressed IDX file of unsigned bytes.

    Parameters
    ----------
    path : Path
    md5 : str, optional
        Expected MD5 of the *uncompressed* content: two compressions of one file differ in their bytes.

    Returns
    -------
    array : read-only ndarray of uint8, with as many axes as the file says

    Raises
    ------
    ValueError
        If the file cannot be decompressed, its checksum differs, or its header does not fit its length.
    """
    try:
        content = gzip.decompress(path.read_bytes())
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is not a complete gzip file ({error}). Expected a gzip-compressed IDX file"
            f"{_named(md5)}. Delete it and fetch or copy it again."
        ) from error
    if md5 is not None:
        check_md5(content, md5, str(path))
    return _parse(content, path)


def encode_idx(array: NDArray[np.uint8]) -> bytes:
    """Return the uncompressed IDX file that holds `array`."""
    header = struct.pack(f">HBB{array.ndim}I", 0, _UNSIGNED_BYTE, array.ndim, *array.shape)
    return header + np.ascontiguousarray(array, dtype=np.uint8).tobytes()


def check_md5(content: bytes, md5: str, source: str) -> None:
    """Raise a ValueError that names `source` unless `content` has the given MD5."""
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    if found != md5:
        raise ValueError(
            f"{source} does not hold the expected data: its uncompressed content should have MD5 {md5}, "
            f"but has {found} ({len(content)} bytes). Delete it and fetch or copy it again."
        )


def _parse(content: bytes, path: Path) -> NDArray[np.uint8]:
    start = 4 + 4 * content[3] if len(content) >= 4 else 4
    if len(content) < start or content[:3] != bytes([0, 0, _UNSIGNED_BYTE]):
        raise ValueError(
            f"{path} is not an IDX file of unsigned bytes: expected it to start with 00 00 08, "
            f"but got {content[:4].hex(' ')!r}. Delete it and fetch or copy it again."
        )
    shape = struct.unpack_from(f">{content[3]}I", content, 4)
    if len(content) - start != math.prod(shape):
        raise ValueError(
            f"{path} is damaged: its header promises shape {shape}, {math.prod(shape)} values, "
            f"but {len(content) - start} follow. Delete it and fetch or copy it again."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)


def _named(md5: str | None) -> str:
    return "" if md5 is None else f" whose content has MD5 {md5}"
