"""The only file that imports scikit-learn's private helpers, and the shim for what only newer versions have."""

from collections.abc import Callable

from sklearn.base import _fit_context
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions

try:
    from sklearn.callback import CallbackSupportMixin
except ImportError:  # scikit-learn < 1.9

    class CallbackSupportMixin:  # type: ignore[no-redef]
        """Stand-in without callbacks."""


__all__ = [
    "CallbackSupportMixin",
    "HasMethods",
    "Interval",
    "StrOptions",
    "_fit_context",
    "epoch_hooks",
]


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
