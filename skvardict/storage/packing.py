"""Plain Python values and arrays to JSON plus named arrays, and back. Nothing in the result can run code.

What JSON lacks is written as an object with one reserved key: ``{"tuple": [...]}``, ``{"array": name}``,
``{"numbers": name}`` (a list of numbers, kept as an array), ``{"strings": [name, name]}`` (their UTF-8 bytes, and the
bytes of each), ``{"float": "nan"}``; a dictionary is ``{"dict": {...}}``.
"""

from collections.abc import Callable, Mapping
from math import isfinite
from reprlib import repr as shown
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]

_SHORT = 8  # numbers or strings that stay in the JSON
_MOST_NESTED = 32


def pack(value: Any, name: str, arrays: Arrays, encode: Callable[[str, Any], Any] | None = None) -> Any:
    """Return `value` as JSON, and put its arrays into `arrays` under names that begin with `name`.

    Parameters
    ----------
    value : object
        None, numbers, strings, arrays of numbers, and lists, tuples and string-keyed dictionaries of these.
    name : str
    arrays : dict
        Modified in place.
    encode : callable ``(name, value) -> JSON``, optional
        Takes what is not listed above.

    Raises
    ------
    TypeError
        If a value is of another kind and there is no `encode`.
    """
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, int) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        return float(value) if isfinite(value) else {"float": repr(float(value))}
    if isinstance(value, np.ndarray):
        if value.dtype == object and value.ndim == 1 and all(isinstance(item, str) for item in value):
            return {"array_of": _pack_strings(list(value), name, arrays)}
        if value.dtype.kind in "biuf" and value.dtype.isnative:
            arrays[name] = value
            return {"array": name}
    if isinstance(value, list) and len(value) > _SHORT:
        if all(type(item) in (int, float) for item in value):
            kind = np.int64 if all(type(item) is int for item in value) else np.float64
            arrays[name] = np.array(value, dtype=kind)
            return {"numbers": name}
        if all(isinstance(item, str) for item in value):
            return _pack_strings(value, name, arrays)
    if isinstance(value, list):
        return [pack(item, f"{name}.{index}", arrays, encode) for index, item in enumerate(value)]
    if isinstance(value, tuple):
        return {"tuple": [pack(item, f"{name}.{index}", arrays, encode) for index, item in enumerate(value)]}
    if isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        return {"dict": {key: pack(item, f"{name}.{key}", arrays, encode) for key, item in value.items()}}
    if encode is None:
        raise TypeError(f"{name} is a {type(value).__name__}, which a file without code cannot hold.")
    return encode(name, value)


def unpack(packed: Any, arrays: Arrays, decode: Callable[[str, Any], Any] | None = None, depth: int = 0) -> Any:
    """Return what :func:`pack` was given; `decode(key, body)` takes the objects with a key that `pack` does not write.

    Arrays are taken out of `arrays` as they are used: each has one place, so that a short text that names a long array
    again and again cannot ask for more memory than the file has.

    Raises
    ------
    ValueError
        If `packed` is not what `pack` writes, is nested too deeply, or an array is missing or named twice.
    """
    if depth > _MOST_NESTED:
        raise ValueError(f"more than {_MOST_NESTED} values within each other")
    if packed is None or isinstance(packed, bool | int | float | str):
        return packed
    if isinstance(packed, list):
        return [unpack(item, arrays, decode, depth + 1) for item in packed]
    if not isinstance(packed, dict) or len(packed) != 1:
        raise ValueError(f"expected an object with one key, but got {shown(packed)}")
    ((key, body),) = packed.items()
    if key == "float" and body in ("nan", "inf", "-inf"):
        return float(body)
    if key == "tuple" and isinstance(body, list):
        return tuple(unpack(item, arrays, decode, depth + 1) for item in body)
    if key == "dict" and isinstance(body, dict):
        return {name: unpack(item, arrays, decode, depth + 1) for name, item in body.items()}
    if key == "array":
        return _array(body, arrays)
    if key == "numbers":
        return _numbers(body, arrays)
    if key == "strings":
        return _unpack_strings(body, arrays)
    if key == "array_of" and isinstance(body, dict) and body.keys() == {"strings"}:
        return np.array(_unpack_strings(body["strings"], arrays), dtype=object)
    if decode is None:
        raise ValueError(f"unknown kind of value {shown(key)}")
    return decode(key, body)


def _pack_strings(texts: list[str], name: str, arrays: Arrays) -> dict:
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    arrays[f"{name}.text"] = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    arrays[f"{name}.sizes"] = np.array([len(item) for item in encoded], dtype=np.int64)
    return {"strings": [f"{name}.text", f"{name}.sizes"]}


def _numbers(name: Any, arrays: Arrays) -> list[int] | list[float]:
    array = _array(name, arrays, ndim=1)
    if array.dtype not in (np.int64, np.float64):  # a list of bytes would take eight times their memory
        raise ValueError(f"array {shown(name)} has dtype {array.dtype}, but int64 or float64 was expected")
    return array.tolist()


def _unpack_strings(names: Any, arrays: Arrays) -> list[str]:
    if not isinstance(names, list) or len(names) != 2:
        raise ValueError("strings are two arrays: bytes, and the number of bytes of each string")
    text, sizes = (_array(name, arrays, ndim=1) for name in names)
    if text.dtype != np.uint8 or sizes.dtype != np.int64 or (sizes < 0).any() or int(sizes.sum()) != len(text):
        raise ValueError("the sizes of strings do not add up to their bytes")
    ends = sizes.cumsum().tolist()
    whole = text.tobytes()
    return [whole[end - size : end].decode("utf-8", "surrogatepass") for end, size in zip(ends, sizes.tolist())]


def _array(name: Any, arrays: Arrays, ndim: int | None = None) -> np.ndarray:
    if not isinstance(name, str) or name not in arrays:
        raise ValueError(f"array {shown(name)} is missing, or named twice")
    array = arrays.pop(name)
    if ndim is not None and array.ndim != ndim:
        raise ValueError(f"array {shown(name)} has {array.ndim} dimensions, but {ndim} were expected")
    return array
