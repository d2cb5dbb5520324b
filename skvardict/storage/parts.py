"""Parameters as JSON: what `packing` holds, devices, and parts: small estimators and laws, which hold settings only.

A part is written as ``{"part": {class: {setting: value}}}``. Classes are looked up in a given list, so a file can name
no other. A parameter that a file cannot hold, such as a function, is written as ``{"omitted": description}``, and
a part or sequence with such an entry is omitted as a whole.
"""

import re
from collections.abc import Mapping
from dataclasses import fields
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.base import BaseEstimator

from skvardict.storage.packing import Arrays, pack, unpack

MOST_NESTED = 8  # parts within parts

Classes = Mapping[str, type]


class Omitted:
    """Stands for a parameter that a file cannot hold.

    Parameters
    ----------
    description : str
    """

    def __init__(self, description: str):
        self.description = description


def pack_parameters(
    parameters: Mapping[str, Any], arrays: Arrays, classes: Classes, prefix: str = ""
) -> dict[str, Any]:
    """Return `parameters` as JSON, and put their arrays into `arrays`.

    Parameters
    ----------
    parameters : dict
    arrays : dict
        Modified in place.
    classes : dict
        The classes of parts by name.
    prefix : str
        Of the names of arrays.
    """
    return {
        name: _pack_or_omit(value, f"{prefix}parameters.{name}", arrays, classes) for name, value in parameters.items()
    }


def unpack_parameter(packed: Any, arrays: Arrays, classes: Classes) -> Any:
    """Return one parameter that :func:`pack_parameters` wrote, or an :class:`Omitted`.

    Parts are made by their constructors, and their settings pass the checks of their classes.

    Raises
    ------
    ValueError, TypeError
        If `packed` is not what :func:`pack_parameters` writes, or a part does not have these settings.
    """
    if isinstance(packed, dict) and packed.keys() == {"omitted"} and isinstance(packed["omitted"], str):
        return Omitted(packed["omitted"][:200])
    return unpack(packed, arrays, partial(_decode, arrays=arrays, classes=classes, depth=1))


def _pack_or_omit(value: Any, name: str, arrays: Arrays, classes: Classes) -> Any:
    own: Arrays = {}
    try:
        packed = pack(value, name, own, partial(_encode, arrays=own, classes=classes, depth=1))
    except TypeError:
        return {"omitted": re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))[:200]}
    arrays |= own
    return packed


def _encode(name: str, value: Any, *, arrays: Arrays, classes: Classes, depth: int) -> Any:
    if isinstance(value, torch.device):
        return {"device": str(value)}
    kind = type(value).__name__
    is_part = classes.get(kind) is type(value)
    if not is_part or depth > MOST_NESTED:
        raise TypeError(f"a file cannot hold {name}, a {kind}")
    encode = partial(_encode, arrays=arrays, classes=classes, depth=depth + 1)
    settings = {key: getattr(value, key) for key in _setting_names(type(value))}
    return {"part": {kind: {key: pack(item, f"{name}.{key}", arrays, encode) for key, item in settings.items()}}}


def _setting_names(cls: Any) -> list[str]:
    return cls._get_param_names() if issubclass(cls, BaseEstimator) else [field.name for field in fields(cls)]


def _decode(key: str, body: Any, *, arrays: Arrays, classes: Classes, depth: int) -> Any:
    if key == "device" and isinstance(body, str):
        try:
            return torch.device(body)
        except RuntimeError as error:
            raise ValueError(f"{body[:80]!r} is not a device") from error
    if key == "part" and isinstance(body, dict) and len(body) == 1:
        ((name, packed),) = body.items()
        if depth > MOST_NESTED:
            raise ValueError(f"more than {MOST_NESTED} parts within each other")
        decode = partial(_decode, arrays=arrays, classes=classes, depth=depth + 1)
        return _make_part(name, packed, arrays, classes, decode)
    raise ValueError(f"unknown kind of value {key[:80]!r}")


def _make_part(name: str, packed: Any, arrays: Arrays, classes: Classes, decode) -> Any:
    cls: Any = classes.get(name)
    if cls is None or not isinstance(packed, dict):
        raise ValueError(f"{name[:80]!r} is not a part of this version")
    unknown = sorted(packed.keys() - set(_setting_names(cls)))
    if unknown:
        raise ValueError(f"{name} has no parameters {', '.join(unknown)[:200]} in this version")
    part = cls(**{setting: unpack(value, arrays, decode) for setting, value in packed.items()})
    if hasattr(cls, "_parameter_constraints"):
        with np.printoptions(threshold=8):  # the message shows a value that is refused
            part._validate_params()
    return part
