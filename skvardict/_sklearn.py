"""The only file that imports scikit-learn's private helpers, and the shim for what only newer versions have."""

from collections.abc import Callable
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.linear_model._cd_fast import enet_coordinate_descent_gram as coordinate_descent
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

if TYPE_CHECKING:  # scikit-learn has no types: those of what estimators inherit from it

    class BaseEstimator:
        def get_params(self, deep: bool = True) -> dict[str, Any]: ...
        def set_params(self, **params: Any) -> Self: ...
        def __sklearn_tags__(self) -> Any: ...
        def _validate_params(self) -> None: ...

    class TransformerMixin:
        def fit_transform(self, X: ArrayLike, y: Any = None, **fit_params: Any) -> np.ndarray: ...
        def set_output(self, *, transform: str | None = None) -> Self: ...

    class ClassNamePrefixFeaturesOutMixin:
        def get_feature_names_out(self, input_features: ArrayLike | None = None) -> np.ndarray: ...

    class CallbackSupportMixin: ...

else:
    from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

    try:
        from sklearn.callback import CallbackSupportMixin
    except ImportError:  # scikit-learn < 1.9

        class CallbackSupportMixin:
            """Stand-in without callbacks."""


__all__ = [
    "COUNT",
    "NON_NEGATIVE",
    "POSITIVE",
    "BaseEstimator",
    "CallbackSupportMixin",
    "ClassNamePrefixFeaturesOutMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "TransformerMixin",
    "checks_parameters",
    "coordinate_descent",
    "epoch_hooks",
]

# What numbers may be, as parameters.
POSITIVE = [Interval(Real, 0, None, closed="neither")]
NON_NEGATIVE = [Interval(Real, 0, None, closed="left")]
COUNT = [Interval(Integral, 1, None, closed="left")]

Method = TypeVar("Method", bound=Callable[..., Any])


def checks_parameters(method: Method) -> Method:
    """Let a method that fits check the parameters first, and skip such checks in what it calls."""
    return _fit_context(prefer_skip_nested_validation=True)(method)


def epoch_hooks(estimator, X, y, max_epochs: int) -> tuple[Callable[[], bool], Callable[[], None]]:
    """Return a function to call after each epoch (true: stop) and one for the end of the fit.

    Both do nothing where scikit-learn has no callbacks or the estimator has none set.
    """
    if not hasattr(estimator, "_init_callback_context"):
        return (lambda: False), (lambda: None)
    arguments = {"estimator": estimator, "X": X, "y": y, "metadata": {}}
    root = estimator._init_callback_context(max_subtasks=max_epochs)
    root.call_on_fit_task_begin(**arguments)

    def begin():
        epoch = root.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(**arguments)
        return epoch

    state = {"epoch": begin(), "n": 1}

    def after_epoch() -> bool:
        stop = bool(state["epoch"].call_on_fit_task_end(**arguments, reconstruction_attributes=None))
        if not stop and state["n"] < max_epochs:
            state.update(epoch=begin(), n=state["n"] + 1)
        return stop

    def after_fit() -> None:
        root.call_on_fit_task_end(**arguments, reconstruction_attributes=None)

    return after_epoch, after_fit
