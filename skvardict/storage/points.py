"""Finished work on disk: found again by what it was computed from.

A key is a digest of versions, of the parameters of an estimator, without those that do not change results, and of the
content of the arrays. Files are written aside and renamed, so that a killed run leaves whole files or none.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import sklearn

from skvardict._utils.messages import warn
from skvardict._utils.types import ArrayLike, FilePath
from skvardict.storage.files import digest, write_aside
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters, versions


class PointStore:
    """One small JSON file per finished point of an experiment.

    Parameters
    ----------
    folder : str or path, optional
        None keeps nothing.
    """

    def __init__(self, folder: FilePath | None):
        self.folder = None if folder is None else Path(folder)

    def load(self, key: str) -> Any:
        """Return the result kept under `key`, None if there is none or its file cannot be read."""
        if self.folder is None or not (path := self.folder / f"{key}.json").is_file():
            return None
        try:
            return json.loads(path.read_text())["result"]
        except (ValueError, KeyError, TypeError) as error:
            warnings.warn(f"{path} is damaged ({error}); its point is computed again.", UserWarning, stacklevel=3)
            return None

    def save(self, key: str, result: Any, origin: Mapping[str, Any]) -> None:
        """Keep `result` (of plain numbers and strings) together with what it was computed from."""
        if self.folder is not None:
            text = json.dumps({"result": result, "origin": origin}, indent=1, default=_plain_number)
            write_aside(self.folder / f"{key}.json", lambda unfinished: unfinished.write_text(text))


class ObjectStore:
    """One joblib file per finished object. Loading runs code from the file: for folders that are trusted.

    Parameters
    ----------
    folder : str or path
    what : str
        What warnings call an object, e.g. ``"model"``.
    """

    def __init__(self, folder: FilePath, what: str = "model"):
        self.folder = Path(folder)
        self.what = what

    def path(self, key: str) -> Path:
        """Return the file of `key`, which need not exist."""
        return self.folder / f"{key}.joblib"

    def load(self, key: str) -> Any:
        """Return the object kept under `key`, None if there is none or its file cannot be read."""
        path = self.path(key)
        if not path.is_file():
            return None
        try:
            return joblib.load(path)
        except Exception as error:  # whatever unpickling of other bytes ends with
            problem = f"{type(error).__name__}: {error}"
            warn(f"{path} cannot be read ({problem}); its {self.what} is fitted again.")
            return None

    def save(self, key: str, value: Any) -> None:
        """Keep `value`, whole or not at all."""
        write_aside(self.path(key), lambda unfinished: joblib.dump(value, unfinished))


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
