"""Finished work on disk: found again by what it was computed from.

A key is a digest of the parameters of an estimator, without those that do not change results, and of the content of
the arrays. Files are written aside and renamed, so that a killed run leaves whole files or none.
"""

import json
import os
import warnings
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from time import perf_counter
from types import CodeType, FunctionType
from typing import Any

import joblib
import numpy as np
import pandas as pd
from sklearn.base import clone
from sklearn.utils.validation import has_fit_parameter
from torch import Tensor

from skvardict.rows import to_array
from skvardict.storage.files import write_aside

_NOT_IN_KEY = ("verbose", "device", "n_jobs")


class PointStore:
    """One small JSON file per finished point of an experiment.

    Parameters
    ----------
    folder : str or path, optional
        None keeps nothing.
    """

    def __init__(self, folder: str | os.PathLike | None):
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


def fit_or_load(estimator, X, *, folder: str | os.PathLike, fit_params: Mapping[str, Any] | None = None):
    """Return a fitted clone of `estimator`, from `folder` if the same fit was finished before.

    Parameters
    ----------
    estimator : estimator
        Not modified.
    X : array-like or Tensor of shape (n_samples, n_features)
    folder : str or path
        Fitted estimators are kept here, one joblib file each, named after a digest of the parameters and of the
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
        If a parameter cannot be told from others, e.g. an object that does not pickle.

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
    origin = {"estimator": describe_value(estimator), "X": fingerprint(X), "fit_params": describe_value(fit_params)}
    path = Path(folder) / f"{digest(origin)}.joblib"
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


def digest(origin: Mapping[str, Any]) -> str:
    """Return a short digest of plain values: the key of a point."""
    return joblib.hash(json.dumps(origin, sort_keys=True, default=_plain_number))


def fingerprint(values) -> str:
    """Return a digest of the content, dtype and shape of an array, tensor or data frame; None has its own.

    The names of columns count: an estimator fitted on them expects them.
    """
    if values is None:
        return "none"
    content = joblib.hash(np.ascontiguousarray(to_array(values)))
    names = getattr(values, "columns", None)
    return content if names is None else joblib.hash([content, *map(str, names)])


def describe_value(value) -> Any:
    """Return plain values that say what `value` is: parameters of estimators, digests of arrays, code of functions."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, Mapping):
        return {str(name): describe_value(entry) for name, entry in sorted(value.items())}
    if isinstance(value, list | tuple):
        return [describe_value(entry) for entry in value]
    if isinstance(value, np.ndarray | Tensor | pd.DataFrame):
        return fingerprint(value)
    if isinstance(value, type):
        return _full_name(value)
    if hasattr(value, "get_params"):
        parameters = value.get_params(deep=False).items()
        return {"class": _full_name(type(value))} | {
            name: describe_value(entry) for name, entry in sorted(parameters) if name not in _NOT_IN_KEY
        }
    if isinstance(value, FunctionType):
        return _describe_function(value)
    if isinstance(value, partial):
        return ["partial", *(describe_value(part) for part in (value.func, value.args, value.keywords))]
    try:
        return [_full_name(type(value)), joblib.hash(value)]
    except Exception as error:
        raise ValueError(
            f"A parameter of type {type(value).__name__} cannot be told from others ({error}), so its results cannot "
            "be found again. Use a value that pickles, or leave folder out."
        ) from error


def _describe_function(function: FunctionType) -> list:
    """Return name and content: two builders of one name, as in an edited notebook, differ."""
    captured = [describe_value(cell.cell_contents) for cell in function.__closure__ or ()]
    return [
        _full_name(function),
        joblib.hash(_describe_code(function.__code__)),
        captured,
        describe_value(function.__defaults__),
        describe_value(function.__kwdefaults__),
    ]


def _describe_code(code: CodeType) -> list:
    return [code.co_code.hex(), list(code.co_names), [_describe_constant(entry) for entry in code.co_consts]]


def _describe_constant(entry) -> Any:
    if isinstance(entry, CodeType):
        return _describe_code(entry)
    # The order of a set of strings is another one in every process.
    return sorted(map(repr, entry)) if isinstance(entry, frozenset) else repr(entry)


def _full_name(thing) -> str:
    return f"{thing.__module__}.{thing.__qualname__}"


def _plain_number(value):
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} is no plain value")
