"""Finished work on disk: found again by what it was computed from.

A key is a digest of versions, of the parameters of an estimator, without those that do not change results, and of the
content of the arrays. Files are written aside and renamed, so that a killed run leaves whole files or none.
"""

import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import joblib
import numpy as np
import sklearn
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter

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


def fit_or_load(estimator: Any, X: ArrayLike, *, folder: FilePath, fit_params: Mapping[str, Any] | None = None) -> Any:
    """Return a fitted clone of `estimator`, from `folder` if the same fit was finished before.

    Parameters
    ----------
    estimator : estimator
        Not modified.
    X : array-like or Tensor of shape (n_samples, n_features)
    folder : str or path
        Fitted estimators are kept here, one joblib file each, named after a digest of versions, parameters, and the
        content of `X` and `fit_params`. Loading runs code from the file: use folders that you trust. Where `fit` takes
        a `checkpoint`, it stands beside the file until the fit is finished: a killed fit continues from there.
    fit_params : dict, optional
        Further arguments of `fit`, for instance ``{"X_val": X_val}``.

    Returns
    -------
    fitted : estimator
        With the duration of its fit (after a kill, of the last part) in `fit_seconds_`, whether or not it was loaded.

    Raises
    ------
    ValueError
        If a parameter cannot be told from others, e.g. an object with an open file. The message says how to name it.

    Examples
    --------
    >>> import tempfile
    >>> from sklearn.decomposition import PCA
    >>> from sklearn.datasets import load_digits
    >>> from skvardict.evaluation import fit_or_load
    >>> X = load_digits().data
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     first = fit_or_load(PCA(2, random_state=0), X, folder=folder)
    ...     again = fit_or_load(PCA(2, random_state=0), X, folder=folder)
    >>> first.fit_seconds_ == again.fit_seconds_
    True
    """
    fit_params = dict(fit_params or {})
    path = Path(folder) / f"{point_key(fingerprint_fit(estimator, X, fit_params))}.joblib"
    if path.is_file():
        try:
            return joblib.load(path)
        except Exception as error:  # whatever unpickling of other bytes ends with
            problem = f"{type(error).__name__}: {error}"
            warnings.warn(f"{path} cannot be read ({problem}); its model is fitted again.", UserWarning, stacklevel=2)
    fitted = clone(estimator)
    checkpoint = path.with_suffix(".checkpoint")
    if has_fit_parameter(fitted, "checkpoint"):
        checkpoint.parent.mkdir(parents=True, exist_ok=True)
        fit_params.setdefault("checkpoint", checkpoint)
    begin = perf_counter()
    fitted.fit(X, **fit_params)
    fitted.fit_seconds_ = perf_counter() - begin
    write_aside(path, lambda unfinished: joblib.dump(fitted, unfinished))
    for left in path.parent.glob(f"{checkpoint.name}*"):
        left.unlink(missing_ok=True)  # another process may have fitted the same
    return fitted


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
