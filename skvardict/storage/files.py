"""Files of named arrays and JSON: the safetensors format and a checksum.

Reading never runs code from the file, never follows a name in it as a path, and takes memory in proportion to the
file. A size that is declared but not there is noticed before anything is read.
"""

import hashlib
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

from skvardict._utils.files import open_regular
from skvardict.storage.writing import replacing

# Parsed JSON takes up to 25 times the memory of its text: what can be long (weights, history, names) is an array.
_LARGEST_HEADER = 2**20
_LARGEST_CONTENT = 2**17


class DamagedFileError(ValueError):
    """A file is cut off, was altered, or is not of the kind that was expected."""


class Contents(NamedTuple):
    """What a file holds: its arrays by name, and its JSON."""

    arrays: dict[str, np.ndarray]
    content: Any


def write_file(
    path: str | os.PathLike,
    arrays: Mapping[str, np.ndarray],
    content: Any,
    *,
    new: bool = False,
    previous: Path | None = None,
    check: Callable[[], None] | None = None,
) -> os.stat_result:
    """Write arrays and JSON by :func:`~skvardict.storage.writing.replacing`, with its keywords; return the status.

    Raises
    ------
    OSError
        If the disk is full, the folder missing, etc.
    """
    data = to_bytes(arrays, content)
    with replacing(path, new=new, previous=previous, check=check) as file:
        file.write(data)
        file.flush()
        return os.fstat(file.fileno())


def open_file(path: str | os.PathLike) -> BinaryIO:
    """Open a file for reading.

    Raises
    ------
    OSError
        If it is missing, a folder, or may not be read.
    DamagedFileError
        If it is a pipe, a socket or a device.
    """
    try:
        return open_regular(path)
    except ValueError as error:
        raise DamagedFileError(str(error)) from None


def read_json(path: str | os.PathLike, most_bytes: int) -> Any:
    """Return the JSON of a small file.

    Raises
    ------
    OSError
    DamagedFileError
        If it is longer than `most_bytes`, which bounds the memory of what is in it, or not JSON.
    """
    with open_file(path) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        if n_bytes > most_bytes:
            raise DamagedFileError(f"{path} has {n_bytes} bytes; more than {most_bytes} are not read.")
        text = file.read(n_bytes)
    try:
        return json.loads(text.decode())
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}.") from error


def read_file(path: str | os.PathLike) -> Contents:
    """Return what :func:`write_file` wrote.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
    """
    with open_file(path) as file:
        n_bytes = os.fstat(file.fileno()).st_size
        start = file.read(8)
        header_size = int.from_bytes(start, "little")
        if len(start) < 8 or header_size > n_bytes - 8:
            raise DamagedFileError(f"{path} ({n_bytes} bytes) is cut off, or not a file of skvardict.")
        if header_size > _LARGEST_HEADER:
            raise DamagedFileError(
                f"{path} declares a header of {header_size} bytes; more than {_LARGEST_HEADER} are not accepted."
            )
        header = _parse_header(path, file.read(header_size))
        size = 8 + header_size + _declared_data_size(path, header)
        if size != n_bytes:
            raise DamagedFileError(f"{path} declares {size} bytes, but has {n_bytes}: it is cut off or altered.")
        metadata = _metadata(path, header)
        del header
        file.seek(0)
        return _parse_contents(path, file.read(size), metadata)


def to_bytes(arrays: Mapping[str, np.ndarray], content: Any) -> bytes:
    """Return the bytes of a file."""
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    text = json.dumps(content, allow_nan=False)
    if len(text) > _LARGEST_CONTENT:
        raise ValueError(f"the parameters take {len(text)} characters of JSON; {_LARGEST_CONTENT} fit into a file.")
    return serialize(arrays, metadata={"skvardict": text, "sha256": digest(arrays, text)})


def from_bytes(data: bytes, path: str | os.PathLike = "the file") -> Contents:
    """Return the contents of the bytes of a file; `path` names it in errors."""
    header = _parse_header(path, data[8 : 8 + int.from_bytes(data[:8], "little")])
    return _parse_contents(path, data, _metadata(path, header))


def _parse_contents(path, data: bytes, metadata: dict[str, str]) -> Contents:
    try:
        arrays = parse(data)
    except (SafetensorError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise DamagedFileError(f"{path} is damaged: {error}") from error
    del data  # the arrays are copies
    text = metadata["skvardict"]
    if metadata["sha256"] != digest(arrays, text):
        raise DamagedFileError(f"{path} is damaged: its checksum does not match what it holds.")
    return Contents(arrays, _parse_json(path, text))


def digest(arrays: Mapping[str, np.ndarray], text: str = "") -> str:
    """Return the SHA-256 of arrays with their names, dtypes and shapes, and of a text."""
    sha256 = hashlib.sha256(text.encode("utf-8", "surrogatepass"))
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        sha256.update(f"\0{name}\0{array.dtype.str}\0{array.shape}\0".encode("utf-8", "surrogatepass"))
        sha256.update(array.reshape(-1).view(np.uint8).data if array.size else b"")
    return sha256.hexdigest()


def _metadata(path, header: dict[str, Any]) -> dict[str, str]:
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or not all(isinstance(metadata.get(key), str) for key in ("skvardict", "sha256")):
        raise DamagedFileError(f"{path} is not a file of skvardict, or its header is damaged.")
    if len(metadata["skvardict"]) > _LARGEST_CONTENT:
        raise DamagedFileError(f"{path} holds more than {_LARGEST_CONTENT} characters of JSON.")
    return metadata


def _parse_header(path, text: bytes) -> dict[str, Any]:
    header = _parse_json(path, text)
    if not isinstance(header, dict):
        raise DamagedFileError(f"{path} is not a file of skvardict, or its header is damaged.")
    return header


def _declared_data_size(path, header: dict[str, Any]) -> int:
    ends = [0]
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(value) is int for value in offsets):
            raise DamagedFileError(f"{path} is damaged: no offsets of array {name[:80]!r}.")
        ends.append(offsets[1])
    return max(ends)


def _parse_json(path, text: str | bytes) -> Any:
    try:
        # As text: of bytes the parser guesses the encoding, and imports what decodes it.
        return json.loads(text.decode("utf-8") if isinstance(text, bytes) else text)
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(f"{path} is not a file of skvardict, or its header is damaged: {error}") from error
