"""The only file that imports scikit-learn's private helpers, and the shim for what only newer versions have."""

from collections.abc import Callable
from functools import wraps
from inspect import signature
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import _fit_context
from sklearn.linear_model._cd_fast import enet_coordinate_descent_gram as coordinate_descent
from sklearn.utils import _safe_indexing as take_rows
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils._set_output import _get_output_config
from sklearn.utils.metaestimators import _safe_split as split_rows
from sklearn.utils.validation import _check_feature_names, _check_n_features

from skvardict._version import documentation_address

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
    import sklearn.base
    from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin

    class BaseEstimator(sklearn.base.BaseEstimator):
        """scikit-learn's, with links from the HTML representation to the pages of the package's own site."""

        _doc_link_module = "skvardict"

        @property
        def _doc_link_template(self) -> str:
            site = documentation_address().rstrip("/")
            return f"{site}/generated/{{name}}.html" if site else ""

        def _doc_link_url_param_generator(self) -> dict[str, str]:
            return {"name": public_name(type(self))}

    try:
        from sklearn.callback import CallbackSupportMixin
    except ImportError:  # scikit-learn < 1.9

        class CallbackSupportMixin:
            """Stand-in without callbacks."""


__all__ = [
    "CALLBACKS_OF_A_FIT",
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
    "check_features",
    "checks_parameters",
    "coordinate_descent",
    "epoch_hooks",
    "gives_frames",
    "keep_feature_names",
    "public_name",
    "split_rows",
    "take_rows",
]

# What `_init_callback_context` gives an estimator, until its fit has ended.
CALLBACKS_OF_A_FIT = ("_callback_fit_ctx", "_skl_callbacks_to_teardown")

# What numbers may be, as parameters.
POSITIVE = [Interval(Real, 0, None, closed="neither")]
NON_NEGATIVE = [Interval(Real, 0, None, closed="left")]
COUNT = [Interval(Integral, 1, None, closed="left")]

Method = TypeVar("Method", bound=Callable[..., Any])


def public_name(cls: type) -> str:
    """Return the name that users import `cls` by: estimators from the package, everything else from its subpackage."""
    package, folder = cls.__module__.split(".")[:2]
    return f"{package}.{cls.__name__}" if folder == "estimators" else f"{package}.{folder}.{cls.__name__}"


_NO_WEIGHTS = (
    "All rows count alike. Repeat those that are to count more, or draw rows by weight: "
    "X[rng.choice(len(X), size=len(X), p=w / w.sum())]."
)


def checks_parameters(method: Method) -> Method:
    """Let a method that fits check the parameters first, and skip such checks in what it calls.

    Keywords that the method does not have are refused in the name of the public class.
    """
    checked, names = _fit_context(prefer_skip_nested_validation=True)(method), signature(method).parameters

    @wraps(method)
    def call(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        unknown = sorted(kwargs.keys() - names.keys())
        if unknown:
            known = ", ".join(name for name in names if name != "self")
            advice = _NO_WEIGHTS if "sample_weight" in unknown else f"It takes {known}."
            name = f"{type(estimator).__name__}.{method.__name__}"
            raise TypeError(f"{name} got an unexpected keyword argument {unknown[0]!r}. {advice}")
        return checked(estimator, *args, **kwargs)

    return cast(Method, call)


def keep_feature_names(estimator: Any, X: Any) -> None:
    """Let `estimator`, fitted on plain rows, know the names of the columns of `X` that they come from."""
    _check_feature_names(estimator, X, reset=True)


def gives_frames(estimator: Any) -> bool:
    """Return whether `transform` gives frames, by ``set_output`` of `estimator` or for all."""
    return _get_output_config("transform", estimator)["dense"] != "default"


def check_features(estimator: Any, X: Any, numbers: np.ndarray, *, reset: bool) -> None:
    """Check or set the names and the number of the features of `estimator`: names of `X`, columns of its `numbers`."""
    _check_feature_names(estimator, X, reset=reset)
    if numbers.ndim == 2:  # or it is refused
        _check_n_features(estimator, numbers, reset=reset)


def epoch_hooks(
    estimator, X, y, max_epochs: int, fitted: Callable[[], dict[str, Any]]
) -> tuple[Callable[[], bool], Callable[[], None]]:
    """Return a function to call after each epoch (true: stop) and one for the end of the fit.

    Both do nothing where scikit-learn has no callbacks or the estimator has none set.

    Parameters
    ----------
    estimator : estimator
    X, y : object
        What callbacks get; without `y` the rows themselves, which are what is reconstructed.
    max_epochs : int
    fitted : callable
        Returns the fitted attributes after the last epoch; called only for callbacks that want a ``fitted_estimator``.
    """
    if not hasattr(estimator, "_init_callback_context"):
        return (lambda: False), (lambda: None)
    arguments = {"estimator": estimator, "X": X, "y": X if y is None else y, "metadata": {}}
    root = estimator._init_callback_context(max_subtasks=max_epochs)
    root.call_on_fit_task_begin(**arguments)

    def begin():
        epoch = root.subcontext(task_name="epoch")
        epoch.call_on_fit_task_begin(**arguments)
        return epoch

    state = {"epoch": begin(), "n": 1}

    def after_epoch() -> bool:
        stop = bool(state["epoch"].call_on_fit_task_end(**arguments, reconstruction_attributes=fitted))
        if not stop and state["n"] < max_epochs:
            state.update(epoch=begin(), n=state["n"] + 1)
        return stop

    def after_fit() -> None:
        # The estimator itself is fitted by then.
        root.call_on_fit_task_end(**arguments, reconstruction_attributes=dict)

    return after_epoch, after_fit
