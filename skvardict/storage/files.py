"""Files of named arrays and JSON: the safetensors format, a checksum, written whole or not at all.

Reading never runs code from the file, never follows a name in it as a path, and takes memory in proportion to the
file. A size that is declared but not there is noticed before anything is read.
"""

import hashlib
import json
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

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
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], content: Any, previous: Path | None = None
) -> None:
    """Write arrays and JSON to `path`: into a temporary file beside it, flushed to the disk, then renamed.

    Whatever happens meanwhile, `path` is afterwards the old file or the new one. With `previous` the old file moves
    there first: at any moment at least one of the two is there and whole.

    Raises
    ------
    OSError
        If the disk is full, the folder missing, etc. The temporary file is gone then.
    """
    data = to_bytes(arrays, content)
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        if previous is not None and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    _sync_folder(path)


def write_aside(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a file of its own next to `path`, then give it its name: whole or not at all.

    For files that are cheap to make again: nothing is flushed to the disk. Several may write `path` at the same time.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.{uuid4().hex}.part")
    try:
        write(unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def read_file(path: str | os.PathLike) -> Contents:
    """Return what :func:`write_file` wrote.

    Raises
    ------
    FileNotFoundError
    DamagedFileError
    """
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode):
            raise DamagedFileError(f"{path} is not a regular file.")
        start = file.read(8)
        header_size = int.from_bytes(start, "little")
        if len(start) < 8 or header_size > status.st_size - 8:
            raise DamagedFileError(f"{path} ({status.st_size} bytes) is cut off, or not a file of skvardict.")
        if header_size > _LARGEST_HEADER:
            raise DamagedFileError(
                f"{path} declares a header of {header_size} bytes; more than {_LARGEST_HEADER} are not accepted."
            )
        header = _parse_header(path, file.read(header_size))
        size = 8 + header_size + _declared_data_size(path, header)
        if size != status.st_size:
            raise DamagedFileError(f"{path} declares {size} bytes, but has {status.st_size}: it is cut off or altered.")
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


def _sync_folder(path: Path) -> None:
    """Make renames in the folder of `path` last through a loss of power, where the system can."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    folder = os.open(path.absolute().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    except OSError:  # some network file systems cannot: the file itself is on the disk
        pass
    finally:
        os.close(folder)


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
