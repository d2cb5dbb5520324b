"""Fits of several estimators on the same rows: coders, and pipelines that end in one."""

from collections.abc import Sequence
from typing import Any

from sklearn.base import clone

from skvardict._utils.types import ArrayLike
from skvardict.estimators._together import why_alone
from skvardict.model_selection._blocks import BlockMember, fit_on_blocks
from skvardict.model_selection._parts import Parts, cut, put_together
from skvardict.storage.fingerprint import fingerprint_parameters
from skvardict.storage.points import point_key


def can_be_fitted_together(estimator: Any) -> bool:
    """Return whether `estimator` is a coder that can be trained with others, or a Pipeline that ends in one."""
    parts = cut(estimator)
    return isinstance(parts, Parts) and parts.after is None and why_alone(parts.coder) is None


def fit_all(estimators: Sequence[Any], X: ArrayLike, *, max_bytes: int | None = None) -> list[Exception | None]:
    """Fit every estimator on `X`; coders are trained together, equal steps before them are fitted once.

    Parameters
    ----------
    estimators : sequence of estimator
        Of which :func:`can_be_fitted_together` is true. Fitted in place.
    X : array-like or Tensor of shape (n_samples, n_features)
    max_bytes : int or None
        Memory that the coders trained at the same time may take.

    Returns
    -------
    errors : list of Exception or None
        In the order of `estimators`.
    """
    blocks: dict[str | None, Any] = {None: X}
    fitted: dict[str, Any] = {}
    errors: dict[int, Exception | None] = {}
    members: dict[int, BlockMember] = {}
    for index, estimator in enumerate(estimators):
        parts = cut(estimator)
        if not isinstance(parts, Parts):
            raise ValueError(f"fit_all cannot fit {type(estimator).__name__}: {parts}.")
        try:
            key = _fit_before(parts, X, blocks, fitted)
        except Exception as error:
            errors[index] = error
            continue
        if key is not None:
            parts.before = fitted[key]
            put_together(estimator, parts)
        members[index] = BlockMember(parts.coder, key)
    errors.update(zip(members, fit_on_blocks(list(members.values()), blocks, max_bytes=max_bytes)))
    return [errors[index] for index in range(len(estimators))]


def _fit_before(parts: Parts, X: ArrayLike, blocks: dict[str | None, Any], fitted: dict[str, Any]) -> str | None:
    """Return the name of the block that the steps before a coder make of `X`; they are fitted if they are new."""
    if parts.before is None:
        return None
    key = point_key(fingerprint_parameters(parts.before))
    if key not in blocks:
        before = clone(parts.before)
        blocks[key] = before.fit_transform(X)
        fitted[key] = before
    return key
