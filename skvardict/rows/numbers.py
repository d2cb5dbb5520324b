"""Whatever holds real numbers becomes one of two things: an array of a dtype of real numbers, or a dense tensor.

The dtype is that of the numbers, not of what they come in: floats of a list, of a frame that knows missing values, or
of an array of objects are double precision as they are in an array.
"""

from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor

_DTYPES = {
    *(torch.bool, torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32),
    *(torch.int64, torch.float16, torch.bfloat16, torch.float32, torch.float64),
}
_NO_NUMBERS = {
    "M": "dates. Pass numbers, e.g. days since the first: (X - X.min()) / numpy.timedelta64(1, 'D')",
    "m": "durations. Pass numbers, e.g. seconds: X / numpy.timedelta64(1, 's')",
    "V": "records. Pass one column per field: numpy.lib.recfunctions.structured_to_unstructured(X)",
    "U": "strings. Pass X.astype(float), if they spell numbers, or encode them",
    "S": "bytes. Pass X.astype(float), if they spell numbers, or encode them",
}


def as_numbers(values: Any, name: str = "X", *, allow_masked: bool = True) -> Any:
    """Return `values` as an array of real numbers or a dense tensor; what is one comes back as it is.

    Parameters
    ----------
    values : array, masked array, Tensor, frame or nested sequence
    name : str
        What errors call them.
    allow_masked : bool, default=True
        Whether entries of a masked array may be masked; they become NaN.

    Raises
    ------
    TypeError
        If these are no real numbers: dates, records, strings, sparse or quantised, without memory, ...
    ValueError
        If numbers are complex, or entries masked that may not be.
    """
    if isinstance(values, Tensor):
        return _check_tensor(values, name)
    if issparse(values):
        raise TypeError(f"{name} is a sparse matrix, but dense numbers are expected. Pass {_last(name)}.toarray().")
    if isinstance(values, list | tuple) and any(isinstance(row, np.ma.MaskedArray) for row in values):
        values = np.ma.stack(values)  # numpy would forget the masks
    is_masked = isinstance(values, np.ma.MaskedArray)
    array = np.ma.getdata(values) if is_masked else _to_natural_array(values, name)
    if array.dtype.kind == "O":
        array = _numbers_of_objects(array, name)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} is of {array.dtype}. Pass real numbers, e.g. both parts.")
    if array.dtype.kind in _NO_NUMBERS:
        problem = _NO_NUMBERS[array.dtype.kind].replace("X", _last(name))
        raise TypeError(f"{name}: expected real numbers, but it is of {array.dtype}: {problem}.")
    return _fill_masked(values, array, name, allow_masked) if is_masked else array


def _last(name: str) -> str:
    """Return what is called so: "X" of "StandardDictionaryLearning: X"."""
    return name.rpartition(" ")[2]


def _check_tensor(X: Tensor, name: str) -> Tensor:
    if X.is_nested or X.layout is not torch.strided:
        kind = "a nested one" if X.is_nested else str(X.layout)
        advice = "torch.nested.to_padded_tensor(X, 0.0)" if X.is_nested else "X.to_dense()"
        raise TypeError(f"{name}: expected a dense tensor, but got {kind}. Pass {advice}.")
    if X.is_quantized:
        raise TypeError(f"{name}: expected numbers, but got a quantised tensor. Pass X.dequantize().")
    if X.is_meta:
        raise TypeError(f"{name}: expected numbers, but got a tensor on the meta device, which has none.")
    if X.is_complex():
        raise ValueError(f"{name}: expected real numbers, but got {X.dtype}. Pass the real and imaginary parts.")
    if X.dtype not in _DTYPES:
        raise TypeError(f"{name}: expected real numbers that can be computed with, but got {X.dtype}. Pass X.float().")
    return X


def _to_natural_array(values: Any, name: str) -> np.ndarray:
    """Return an array of the dtype that the numbers have."""
    if isinstance(values, np.ndarray):
        return values
    if hasattr(values, "columns") and hasattr(values, "dtypes"):
        return _of_frame(values, name)
    try:
        return np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:  # rows of several lengths, a list of tensors elsewhere, ...
        raise type(error)(f"{name} cannot be read as an array of numbers: {error}") from error


def _of_frame(frame: Any, name: str) -> np.ndarray:
    dtypes = dict(zip(frame.columns, frame.dtypes, strict=True))
    dates = [str(column) for column, dtype in dtypes.items() if _is_of_time(dtype)]
    if dates:
        raise TypeError(
            f"{name}: expected real numbers, but the columns {', '.join(dates[:5])} hold dates or durations. Pass "
            "numbers, e.g. days since the first date."
        )
    if not hasattr(frame, "isna"):  # of polars: the array is of the common dtype already
        return np.asarray(frame)
    plain = [_numpy_dtype(dtype) for dtype in dtypes.values()]
    common = np.result_type(*plain) if plain and None not in plain else np.dtype(object)
    if all(isinstance(dtype, np.dtype) for dtype in dtypes.values()):
        return frame.to_numpy(dtype=common)
    if common.kind != "f" and bool(frame.isna().any(axis=None)):
        common = np.dtype(object) if common.kind == "O" else np.dtype(np.float64)
    return frame.to_numpy(dtype=common, na_value=np.nan)


def _is_of_time(dtype: Any) -> bool:
    """Return whether a dtype of pandas or polars is that of dates, times or durations."""
    return getattr(dtype, "kind", "") in ("M", "m") or bool(getattr(dtype, "is_temporal", bool)())


def _numpy_dtype(dtype: Any) -> np.dtype | None:
    """Return numpy's dtype of the numbers in a column of pandas; None: they may be anything."""
    if hasattr(dtype, "categories"):
        return _numpy_dtype(dtype.categories.dtype)
    known = getattr(dtype, "numpy_dtype", getattr(dtype, "subtype", dtype))
    return known if isinstance(known, np.dtype) and known.kind in "biuf" else None


def _numbers_of_objects(array: np.ndarray, name: str) -> np.ndarray:
    """Return the numbers in an array of Python objects, in the dtype that a list of them would have."""
    try:
        natural = np.array(array.tolist())
        return array.astype(np.float64) if natural.dtype.kind == "O" or natural.shape != array.shape else natural
    except (ValueError, TypeError) as error:
        raise type(error)(f"{name} holds other things than real numbers: {error}") from error


def _fill_masked(values: Any, array: np.ndarray, name: str, allow_masked: bool) -> np.ndarray:
    mask = np.ma.getmaskarray(values)
    n_masked = int(mask.sum())
    if n_masked == 0:
        return array
    if not allow_masked:
        raise ValueError(
            f"{name} is a masked array with {n_masked} masked entries, whose values would count. Fill them in, or set "
            "missing='mask' where there is such a parameter."
        )
    double = array.dtype.kind == "f" and array.dtype.itemsize >= np.dtype(np.float64).itemsize
    return np.where(mask, np.nan, array).astype(np.float64 if double else np.float32)
