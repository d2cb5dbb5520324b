"""The fitted attributes of an estimator change together.

Who reads an estimator while another thread fits it, to pickle it say, or is left with it after an interrupt, finds all
of the old model or all of the new one. For this a fit works on a copy, and the attributes take their place in one step:
as a new ``__dict__``, so that whoever goes through the old one reads on in it.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import wraps
from typing import Any, TypeVar, cast

Method = TypeVar("Method", bound=Callable[..., Any])

_SECONDS = "fit_seconds_"


def set_at_once(estimator: Any, new: Mapping[str, Any], without: Iterable[str] = ()) -> None:
    """Set and remove attributes in one step."""
    dropped = set(without)
    kept = {name: value for name, value in dict(vars(estimator)).items() if name not in dropped}
    estimator.__dict__ = {**kept, **new}


class Draft:
    """A copy of an estimator that a fit works on.

    Attributes
    ----------
    original : estimator
    copy : estimator
    """

    def __init__(self, original: Any):
        self.original = original
        self.copy = object.__new__(type(original))
        self._before = dict(vars(original))
        vars(self.copy).update(self._before)

    def publish(self) -> None:
        """Give the original what the copy has got since, and take away what the copy has lost."""
        now, before = vars(self.copy), self._before
        new = {name: value for name, value in now.items() if name not in before or before[name] is not value}
        set_at_once(self.original, new, without=before.keys() - now.keys())
        self._before = dict(now)


def fits_at_once(method: Method) -> Method:
    """Let a method that fits work on a copy, whose new attributes become those of the estimator when it has ended."""

    @wraps(method)
    def fit(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        draft = Draft(estimator)
        method(draft.copy, *args, **kwargs)
        draft.publish()
        return estimator

    return cast(Method, fit)


def of_one_model(method: Method) -> Method:
    """Let a method that reads what was fitted begin again where another thread has set it meanwhile."""

    @wraps(method)
    def read(estimator: Any, *args: Any, **kwargs: Any) -> Any:
        while True:
            state = vars(estimator)
            try:
                result = method(estimator, *args, **kwargs)
            except Exception:
                if vars(estimator) is state:
                    raise
            else:
                if vars(estimator) is state:
                    return result

    return cast(Method, read)


def without_times(state: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes with nothing in them of how long a fit took: what equal fits have in common."""
    state = dict(state)
    if _SECONDS in state:
        state[_SECONDS] = float("nan")
    history = state.get("history_")
    if isinstance(history, dict) and "seconds" in history:
        state["history_"] = {**history, "seconds": [float("nan")] * len(history["seconds"])}
    return state
