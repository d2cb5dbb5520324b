"""Parameters as fields: default, check and text of each stand in one place, and the constructor is made from them.

A class lists its parameters with :func:`parameter` and takes the decorator :func:`with_parameters`, which is
:func:`dataclasses.dataclass` without comparison and representation (those are scikit-learn's). Parameters are
inherited; a subclass that redeclares one with a plain value changes its default only, with :func:`parameter` what it
gives there, and one that declares it as a ``ClassVar`` leaves it out of its constructor.
"""

import dataclasses
import inspect
from collections.abc import Iterable, Sequence
from functools import lru_cache
from numbers import Integral
from textwrap import fill
from typing import Any, ClassVar, TypeVar, dataclass_transform

import numpy as np

from skvardict._sklearn import BaseEstimator
from skvardict._utils.names import explains_names

Class = TypeVar("Class", bound=type)

_SECTIONS = ("Attributes", "Methods", "See Also", "Notes", "References", "Examples")
MODEL, PARTS, TRAINING, RUN = range(4)  # in this order parameters are documented


def parameter(
    *,
    default: Any = dataclasses.MISSING,
    accepts: Sequence[Any] | None = None,
    kind: str | None = None,
    text: str | None = None,
    kw_only: bool = True,
    group: int | None = None,
) -> Any:
    """Return a field of a class with :func:`with_parameters`.

    Parameters
    ----------
    default : object, optional
        Shared by all instances, so immutable; without one the parameter has to be given.
    accepts : sequence
        Constraints of scikit-learn's parameter validation; the value has to meet one of them.
    kind : str
        Type and shape, as they stand in the documentation.
    text : str
        What the parameter is, and what a larger or other value does.
    kw_only : bool, default=True
    group : int, default=MODEL
        Place in the documentation.

    Notes
    -----
    Where a subclass declares a parameter anew, `accepts`, `kind`, `text` and `group` stay as they were unless given.
    """
    said = {"accepts": accepts, "kind": kind, "text": text, "group": group}
    metadata = {name: value for name, value in said.items() if value is not None}
    return dataclasses.field(default=default, kw_only=kw_only, metadata=metadata)


@dataclass_transform(kw_only_default=True, field_specifiers=(parameter,))
def with_parameters(cls: Class) -> Class:
    """Make the constructor, the checks and the "Parameters" and "Attributes" of the documentation of `cls`."""
    inherited = {field.name: field for field in getattr(cls, "__dataclass_fields__", {}).values()}
    for name, annotation in inspect.get_annotations(cls).items():
        old, new = inherited.get(name), cls.__dict__.get(name, dataclasses.MISSING)
        if old is None or not old.metadata or new is dataclasses.MISSING or "ClassVar" in str(annotation):
            continue
        if not isinstance(new, dataclasses.Field):
            new = dataclasses.field(default=new, kw_only=old.kw_only)
        metadata = {**old.metadata, **new.metadata}
        setattr(cls, name, dataclasses.field(default=new.default, kw_only=new.kw_only, metadata=metadata))
    made: Any = dataclasses.dataclass(eq=False, repr=False, match_args=False, kw_only=True)(cls)
    made.__init__ = explains_names(getattr(made, "_OTHER_NAMES", {}), cls.__name__)(made.__init__)
    made._parameter_constraints = {field.name: list(field.metadata["accepts"]) for field in _fields(made)}
    made.__doc__ = _document(made)
    return made


def _fields(cls: Any) -> list[dataclasses.Field]:
    return [field for field in dataclasses.fields(cls) if field.metadata]


def _document(cls: Any) -> str | None:
    if cls.__doc__ is None or "\n" not in cls.__doc__:  # python -OO, or a class that no user meets
        return cls.__doc__
    text = inspect.cleandoc(cls.__doc__)
    starts = [text.index(f"\n{name}\n---") for name in _SECTIONS if f"\n{name}\n---" in text]
    at = min(starts, default=len(text))
    sections = [text[:at].rstrip(), _parameters_section(cls), _attributes_section(cls), text[at:].strip()]
    return "\n\n".join(section for section in sections if section) + "\n"


def _parameters_section(cls: Any) -> str:
    fields = sorted(_fields(cls), key=lambda field: field.metadata.get("group", MODEL))
    entries = []
    for field in fields:
        default = "" if field.default is dataclasses.MISSING else f", default={field.default!r}"
        entries.append(f"{field.name} : {field.metadata['kind']}{default}\n{_wrap(field.metadata['text'])}")
    return _section("Parameters", entries)


def _attributes_section(cls: Any) -> str:
    texts: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        texts |= vars(base).get("_ATTRIBUTES", {})
    return _section("Attributes", [f"{name}\n{_wrap(text)}" for name, text in texts.items() if text])


def _wrap(text: str) -> str:
    return fill(text, 110, initial_indent="    ", subsequent_indent="    ")


def _section(title: str, entries: list[str]) -> str:
    return "\n".join([title, "-" * len(title), *entries]) if entries else ""


def one_of(names: Iterable[str]) -> str:
    """Return the `kind` of a parameter that is one of `names`, or the beginning of it."""
    return "{" + ", ".join(f'"{name}"' for name in names) + "}"


def check_count(name: str, value: Any) -> None:
    """Raise a ValueError where `value`, an argument called `name`, is no integer of at least 1."""
    if not isinstance(value, Integral) or value < 1:
        raise ValueError(f"{name} must be an integer of at least 1, but got {value!r}.")


def positive_integers(values: Any) -> tuple[int, ...] | None:
    """Return one integer, or those in a sequence, an array or a tensor, as a tuple; None unless all are at least 1."""
    try:
        array = np.atleast_1d(np.asarray(values))
    except (ValueError, TypeError, RuntimeError):  # ragged, or a tensor that is not on the CPU
        return None
    if array.ndim != 1 or (array.size and (array.dtype.kind not in "iu" or array.min() < 1)):
        return None
    return tuple(array.tolist())


class Part(BaseEstimator):
    """What an estimator is assembled from: settings only, that clone, print, are searched over and saved.

    A part checks its settings where it is used, with :meth:`check`.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    def check(self) -> None:
        """Raise a ValueError that names the setting that is out of range."""
        check_settings(self)


def check_settings(estimator: BaseEstimator) -> None:
    """Raise a ValueError that names the setting of `estimator` that is out of range.

    For what is called once for every batch: equal settings are looked at once, since reading the signature of a
    constructor costs more than a small batch does.
    """
    settings = vars(estimator)
    try:
        hash(tuple(settings.values()))
    except TypeError:
        estimator._validate_params()
    else:
        kind: Any = type(estimator)
        _check_once(kind, tuple(settings), *settings.values())


@lru_cache(maxsize=64, typed=True)
def _check_once(kind: Any, names: tuple[str, ...], *values: Any) -> None:
    estimator = kind.__new__(kind)
    vars(estimator).update(zip(names, values, strict=True))
    estimator._validate_params()


def check_part(value: Any) -> None:
    """Check the settings of `value`, where it is a part."""
    if isinstance(value, Part):
        value.check()
