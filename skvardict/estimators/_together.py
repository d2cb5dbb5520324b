"""Fits of several estimators by one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from skvardict.estimators.dictionary import (
    StandardDictionaryLearning,
    VarianceDictionaryLearning,
    WeightDecayDictionaryLearning,
)
from skvardict.networks import LISTA, MLP, Linear
from skvardict.solvers import ADMM, FISTA, ISTA
from skvardict.training import SGD, Adam, OnlineUpdate

_ESTIMATORS = (VarianceDictionaryLearning, StandardDictionaryLearning, WeightDecayDictionaryLearning)
# What is trained with a leading axis; of a user's subclass nobody knows.
_PARTS = {
    "decoder": (Linear, MLP),
    "encoder": (LISTA, MLP, type(None)),
    "solver": (FISTA, ISTA, ADMM, type(None)),
    "optimizer": (Adam, SGD, OnlineUpdate),
}
_NAMES = {"decoder": ("linear", "mlp"), "encoder": ("lista", "mlp"), "solver": (), "optimizer": ("auto",)}


@dataclass(frozen=True)
class Member:
    """One of several fits.

    Parameters
    ----------
    estimator : estimator
        Fitted in place.
    rows : ndarray of int or None
        Its rows of the common X; None: all of them.
    """

    estimator: Any
    rows: np.ndarray | None = None


def fit_together(members: Sequence[Member], X, *, max_bytes: int | None = None) -> list[Exception | None]:
    """Fit every member on its rows of `X`, as ``estimator.fit(X[rows])`` would.

    Parameters
    ----------
    members : sequence of Member
    X : ndarray or Tensor of shape (n_samples, n_features)
        Rows that members share are held once.
    max_bytes : int or None
        Memory that stacked members may take together; None: a default that suits the machine.

    Returns
    -------
    errors : list of Exception or None
        In the order of `members`; what a fit raised that failed. The others are fitted.
    """
    return [_fit_alone(member, X) for member in members]


def why_alone(estimator: Any) -> str | None:
    """Return, in words, why `estimator` cannot be one of several that are trained as one program; None: it can."""
    name = type(estimator).__name__
    if type(estimator) not in _ESTIMATORS:
        return f"{name} is not among the estimators that are trained together"
    if estimator.warm_start and hasattr(estimator, "_train_state"):
        return f"{name} continues a fit of its own (warm_start=True)"
    if getattr(estimator, "_skl_callbacks", None):
        return f"{name} has callbacks, which follow one fit"
    try:
        estimator._validate_params()
    except (ValueError, TypeError) as error:
        return f"{name} cannot be fitted: {error}"
    for role, types in _PARTS.items():
        part = getattr(estimator, role)
        known = part in _NAMES[role] if isinstance(part, str) else type(part) in types
        if not known:
            return f"{name} has {role}={part!r}, which has no form for several models at once"
    return None


def _fit_alone(member: Member, X) -> Exception | None:
    try:
        member.estimator.fit(X if member.rows is None else X[member.rows])
    except Exception as error:
        return error
    return None
