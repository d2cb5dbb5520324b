"""What a keyword that is not known here may stand for: the names of scikit-learn, of torch, and slips of the pen."""

from collections.abc import Callable, Iterable, Mapping
from difflib import get_close_matches
from functools import wraps
from inspect import signature
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def explain_name(owner: str, name: str, known: Iterable[str], others: Mapping[str, str]) -> str:
    """Return what to say of a keyword `name` that `owner` does not have.

    Parameters
    ----------
    owner, name : str
    known : iterable of str
        Its keywords.
    others : dict of str
        By names that are used elsewhere, what is meant by them here.
    """
    if name in others:
        return f"{owner} has no {name!r}; it is {others[name]} here."
    known = list(known)
    close = get_close_matches(name, known, 1)
    return f"{owner} has no {name!r}. " + (f"Did you mean {close[0]!r}?" if close else f"It takes {', '.join(known)}.")


def explains_names(
    others: Mapping[str, str], owner: str | None = None
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Let a function say what a keyword that it does not have is called here, as :func:`explain_name` does."""

    def decorate(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        known = [name for name in signature(function).parameters if name != "self"]

        @wraps(function)
        def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            for name in kwargs:
                if name not in known:
                    raise TypeError(explain_name(owner or function.__name__, name, known, others))
            return function(*args, **kwargs)

        return checked

    return decorate
