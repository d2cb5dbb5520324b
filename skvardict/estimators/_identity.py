"""What a fit depends on, as short texts by name: a checkpoint is continued only where all of them agree."""

import re
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator
from torch import Tensor

from skvardict._version import __version__
from skvardict.rows.checks import digest_rows
from skvardict.storage.files import digest
from skvardict.storage.packing import Arrays

# They change what is said or where `fit` may be found again, not what is computed.
_WITHOUT_EFFECT = {"verbose", "device"}


def fit_identity(estimator, X, X_val, device: torch.device, start: Arrays | None) -> dict[str, str]:
    """Return what a fit of `estimator` depends on.

    Parameters
    ----------
    estimator : estimator
    X, X_val : ndarray, Tensor or None
    device : torch.device
        Where the fit runs.
    start : dict of arrays or None
        The training state that a warm start continues.
    """
    names = getattr(estimator, "feature_names_in_", None)
    identity = {
        "skvardict": __version__,
        "torch": torch.__version__,
        "estimator": type(estimator).__name__,
        "device type": device.type,
        "X": digest_rows(X),
        "X_val": "none" if X_val is None else digest_rows(X_val),
        "feature names": "none" if names is None else digest({}, "\0".join(names))[:16],
        "start": "anew" if start is None else f"after {int(start['counters'][0])} epochs, {digest(start)[:16]}",
    }
    parameters = estimator.get_params(deep=True)
    return identity | {name: _describe(parameters[name]) for name in sorted(parameters.keys() - _WITHOUT_EFFECT)}


def _describe(value: Any) -> str:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, np.ndarray | Tensor):
        return digest_rows(value)
    if isinstance(value, BaseEstimator):  # its parameters are listed beside it
        return type(value).__name__
    if isinstance(value, np.random.RandomState):  # its state may have moved on: the seed is in the checkpoint
        return "RandomState"
    if callable(value) and hasattr(value, "__qualname__"):
        return f"{value.__module__}.{value.__qualname__}"
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))
