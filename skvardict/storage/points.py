"""Finished work on disk: found again by what it was computed from.

A key is a digest of versions, of the parameters of an estimator, without those that do not change results, and of the
content of the arrays. Files are written aside and renamed, so that a killed run leaves whole files or none.
"""

import hashlib
import json
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import joblib
import numpy as np
import sklearn

from skvardict._utils.messages import warn
from skvardict._utils.types import ArrayLike, FilePath
from skvardict.storage.files import DamagedFileError, digest, open_file, read_json
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters, versions
from skvardict.storage.writing import replacing

_LARGEST_POINT = 2**22  # bytes of JSON; parsed, they take up to 25 times as many
_END = b"\nskvardict sha256 "


class PointStore:
    """One small JSON file per finished point of an experiment: a row of a table, with a checksum.

    Parameters
    ----------
    folder : str or path, optional
        None keeps nothing.
    """

    def __init__(self, folder: FilePath | None):
        self.folder = None if folder is None else Path(folder)

    def load(self, key: str, numbers: Sequence[str] = ()) -> Any:
        """Return the row kept under `key`; None if there is none, or with a warning if its file cannot be used.

        Parameters
        ----------
        key : str
        numbers : sequence of str
            What the row must have, as numbers. All its values are single ones then.
        """
        if self.folder is None or not (path := self.folder / f"{key}.json").is_file():
            return None
        try:
            return _row_in(path, numbers)
        except (OSError, DamagedFileError) as error:
            warnings.warn(f"{error} Its point is computed again.", UserWarning, stacklevel=3)
            return None

    def save(self, key: str, result: Mapping[str, Any], origin: Mapping[str, Any]) -> None:
        """Keep `result` (of plain numbers and strings) together with what it was computed from."""
        if self.folder is not None:
            self.folder.mkdir(parents=True, exist_ok=True)
            result = json.loads(json.dumps(result, default=_plain_number))
            kept = {"result": result, "sha256": _checksum(result), "origin": origin}
            with replacing(self.folder / f"{key}.json") as file:
                file.write(json.dumps(kept, indent=1, default=_plain_number).encode())


class ObjectStore:
    """One joblib file per finished object, with a checksum at its end: damaged ones are not unpickled.

    Loading runs code from the file: for folders that are trusted.

    Parameters
    ----------
    folder : str or path
    what : str
        What warnings call an object, e.g. ``"model"``.
    durable : bool
        Whether files have to last through a loss of power.
    """

    def __init__(self, folder: FilePath, what: str = "model", *, durable: bool = True):
        self.folder = Path(folder)
        self.what = what
        self.durable = durable

    def path(self, key: str) -> Path:
        """Return the file of `key`, which need not exist."""
        return self.folder / f"{key}.joblib"

    def load(self, key: str) -> Any:
        """Return the object kept under `key`, None if there is none or its file cannot be read."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            with open_file(path) as file:
                _check_end(path, file, os.fstat(file.fileno()).st_size)
                file.seek(0)
                return joblib.load(file)
        except Exception as error:  # whatever unpickling of other bytes ends with
            problem = f"{type(error).__name__}: {error}"
            warn(f"{path} cannot be read ({problem}); its {self.what} is fitted again.")
            return None

    def save(self, key: str, value: Any) -> None:
        """Keep `value`, whole or not at all."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with replacing(self.path(key), durable=self.durable) as file:
            hashed = _Hashed(file)
            joblib.dump(value, hashed)
            file.write(_end_of(hashed.sha256))


class _Hashed:
    """A file that is written once, from its beginning, and the digest of what was written."""

    def __init__(self, file: BinaryIO):
        self.file, self.sha256 = file, hashlib.sha256()

    def write(self, data: Any) -> int:
        self.sha256.update(data)
        return self.file.write(data)

    def tell(self) -> int:
        return self.file.tell()


def _check_end(path: Path, file: BinaryIO, size: int) -> None:
    """Raise a DamagedFileError where a file does not end with the checksum of what is before it.

    Unpickling damaged bytes may take any memory. Files of earlier versions end with the dot that ends a pickle.
    """
    sha256, left = hashlib.sha256(), max(0, size - len(_end_of(hashlib.sha256())))
    while left > 0 and (block := file.read(min(left, 2**20))):
        sha256.update(block)
        left -= len(block)
    end = file.read()
    if end != _end_of(sha256) and (not end.endswith(b".") or _END.strip() in end):
        raise DamagedFileError(f"{path} does not hold what its checksum is of")


def _end_of(sha256: Any) -> bytes:
    return _END + sha256.hexdigest().encode() + b"\n"


def _row_in(path: Path, numbers: Sequence[str]) -> dict[str, Any]:
    saved = read_json(path, _LARGEST_POINT)
    row = saved.get("result") if isinstance(saved, dict) else None
    if not isinstance(row, dict) or saved.get("sha256", _checksum(row)) != _checksum(row):
        raise DamagedFileError(f"{path} is damaged: it does not hold the row that its checksum is of.")
    if numbers:
        wrong = [name for name in numbers if type(row.get(name)) not in (int, float)]
        wrong += [name for name, value in row.items() if not _is_single(value)]
        if wrong:
            raise DamagedFileError(f"{path} is damaged: {wrong[0][:80]!r} is not a number.")
    return row


def _is_single(value: Any) -> bool:
    return value is None or isinstance(value, bool | float | str) or (isinstance(value, int) and abs(value) < 2**63)


def _checksum(row: Mapping[str, Any]) -> str:
    return digest({}, json.dumps(row, sort_keys=True))


def point_key(origin: Mapping[str, Any]) -> str:
    """Return a short digest of plain values: the key of a point."""
    return digest({}, json.dumps(origin, sort_keys=True, default=_plain_number))[:32]


def all_versions() -> dict[str, str]:
    """Return the versions that any result of an evaluation depends on."""
    return {**versions(), "scikit-learn": sklearn.__version__}


def fingerprint_fit(estimator: Any, X: ArrayLike, fit_params: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a fit depends on: versions, parameters, rows and further arguments."""
    return {
        "versions": all_versions(),
        "estimator": fingerprint_parameters(estimator),
        "X": fingerprint(X, "X"),
        "fit_params": {name: fingerprint(value, name) for name, value in fit_params.items()},
    }


def _plain_number(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain value")
