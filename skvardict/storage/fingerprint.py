"""One fingerprint of whatever a result was computed from, the same in every process.

What counts
    numbers and strings with their types; arrays, tensors and data frames by content, dtype, shape, names of columns and
    index; random generators by their state; estimators by class and parameters, and those that `clone` leaves as they
    are also by what they have learned; functions by name, instructions, constants, defaults, attributes, closure, and
    the globals they read; classes of the user by what their bodies define; other objects by class and by the state
    that pickle would take; code of installed packages by name and version.
What does not
    the order of the keys of a dictionary and of sets; lines, file names, comments, annotations, and the module of a
    function of the user; whether an array is in memory or in a file, and where a tensor is; of estimators, `verbose`,
    `device` and `n_jobs`, and how long a fit took.

A docstring counts, and so does the version of Python where functions are involved, whose instructions it makes. Of
what a function imports in its body only the name is known.
"""

import copyreg
import hashlib
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from math import prod
from operator import itemgetter
from types import (
    BuiltinFunctionType,
    CellType,
    ClassMethodDescriptorType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any, NoReturn

import numpy as np
import torch
from torch import Tensor

from skvardict._utils.state import without_times
from skvardict._version import __version__
from skvardict.rows.maps import MappedPages
from skvardict.storage.code import all_names, code_content, global_names, is_installed, package_version

# Parameters that change what is said or where and how fast it is computed, not what is computed.
WITHOUT_EFFECT = frozenset({"verbose", "device", "n_jobs"})

_BLOCK_ENTRIES = 2**21  # 8 MB of float32
_LONGEST_TEXT = 80
_PLAIN = (bool, int, float, complex, str, bytes, range, type(None), type(...), type(NotImplemented))
_PLAIN_OF_TORCH = (torch.dtype, torch.device, torch.layout, torch.memory_format)
# Where a class stands, and what Python remembers about it.
_NOT_IN_CLASS = {
    "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__", "__dict__",
    "__doc__", "__firstlineno__", "__module__", "__qualname__", "__slotnames__", "__static_attributes__", "__weakref__",
    "_abc_impl",
}  # fmt: skip


def versions() -> dict[str, str]:
    """Return the versions that results of any estimator of this package depend on."""
    return {"skvardict": __version__, "torch": str(torch.__version__)}


def fingerprint(value: Any, name: str = "value") -> str:
    """Return a short text that is equal for equal values, and for no others.

    Parameters
    ----------
    value : object
    name : str
        What errors call it.

    Returns
    -------
    text : str
        Short plain values as they are; of others what they are, and a digest.

    Raises
    ------
    ValueError
        If `value` cannot be told from others.

    Examples
    --------
    >>> from skvardict.storage.fingerprint import fingerprint
    >>> fingerprint((64, 0.1, "relu"))
    "(64, 0.1, 'relu')"
    >>> fingerprint(lambda x: 2 * x) == fingerprint(lambda x: 3 * x)
    False
    """
    text = _short_text(value)
    if text is not None:
        return text
    if _is_array_of_bytes(value):
        return array_text(value)
    try:
        return f"{_name_of(value)}, SHA-256 {_Reader(name).digest(value, name)[:16]}"
    except RecursionError as error:
        raise ValueError(f"{name} cannot be told from others: it is nested too deeply.") from error


def fingerprint_parameters(estimator) -> dict[str, str]:
    """Return the fingerprints of the class and of all parameters of `estimator`, deep, without those without effect.

    Raises
    ------
    ValueError
        If a parameter cannot be told from others. The message names it, and says what to do.
    """
    parameters = estimator.get_params(deep=True)
    counted = sorted(name for name in parameters if name.rpartition("__")[2] not in WITHOUT_EFFECT)
    texts = {name: _parameter_text(name, parameters[name], parameters) for name in counted}
    return {"estimator": _class_text(type(estimator))} | texts


def array_text(array: np.ndarray | Tensor) -> str:
    """Return dtype, shape and digest of the content of an array or tensor, which is read block by block."""
    sha256 = hashlib.sha256()
    for block in _blocks(array):
        sha256.update(block.data)
    return f"{str(array.dtype).removeprefix('torch.')} {tuple(array.shape)}, SHA-256 {sha256.hexdigest()[:16]}"


def _parameter_text(name: str, value: Any, parameters: Mapping[str, Any]) -> str:
    """Return the class alone of a part whose parameters are listed beside it: what differs is then named."""
    if not _is_estimator(value) or _keeps_state(value):
        return fingerprint(value, name)
    are_listed = all(f"{name}__{inner}" in parameters for inner in value.get_params(deep=False))
    return _class_text(type(value)) if are_listed else fingerprint(value, name)


def _class_text(cls: type) -> str:
    is_known = is_installed(cls.__module__) and _is_found_by_name(cls, cls.__module__)
    return cls.__name__ if is_known else fingerprint(cls, cls.__name__)


class _Reader:
    """Digests one value with all that it refers to. What it is within ends cycles; what was read is not read again."""

    def __init__(self, name: str):
        self._path = [name]
        self._within: list[int] = []
        self._is_fitted = False  # whether estimators count with what they have learned
        # The values are kept: another object could have the address of one that is gone.
        self._known: dict[tuple[int, bool], tuple[Any, str]] = {}

    def digest(self, value: Any, label: str) -> str:
        """Return the digest of `value`, which errors call `label`."""
        text = _plain_text(value)
        if text is not None:
            return _hash("plain", text)
        key = id(value), self._is_fitted
        if id(value) in self._within:
            return _hash("around it", str(len(self._within) - self._within.index(id(value))))
        if key in self._known:
            return self._known[key][1]
        self._within.append(id(value))
        self._path.append(label)
        result = self._read(value)
        self._within.pop()
        self._path.pop()
        if not isinstance(value, ModuleType):  # of which each function reads other names
            self._known[key] = value, result
        return result

    def _join(self, kind: str, **parts: Any) -> str:
        return _hash(kind, *(self.digest(part, label.replace("_", " ")) for label, part in parts.items()))

    def _read(self, value: Any) -> str:
        named = getattr(value, "__fingerprint__", None)
        if callable(named) and not isinstance(value, type):
            return self._join("named", type=_name_of(value), fingerprint=named())
        for kinds, read in _READ.items():
            if isinstance(value, kinds):
                return read(self, value)
        if _is_table(value):
            return self._table(value)
        if _is_estimator(value):
            return self._estimator(value)
        if isinstance(value, Iterator) or type(value) is object:
            self._refuse(value)
        return self._state(value)

    def _refuse(self, value: Any, error: Exception | None = None) -> NoReturn:
        path = " > ".join(dict.fromkeys(self._path))
        raise ValueError(
            f"{path} cannot be told from others: nothing says what this {type(value).__name__} computes"
            f"{f' ({error})' if error else ''}. Give it a method __fingerprint__() that returns plain values which "
            "change with what it computes, pass a function defined at module level that reads no such object, or do "
            "without a checkpoint or folder."
        ) from error

    # ------------------------------------------------------------------------------------------------------- values

    def _sequence(self, values: list | tuple) -> str:
        kind = "list" if isinstance(values, list) else "tuple"
        if type(values) not in (list, tuple):
            return self._state(values)
        return _hash(kind, *(self.digest(entry, f"[{index}]") for index, entry in enumerate(values)))

    def _mapping(self, values: Mapping) -> str:
        if type(values) not in (dict, MappingProxyType):
            return self._state(values)
        keys = sorted(((self.digest(key, "a key"), key) for key in values), key=itemgetter(0))
        return _hash("dict", *(part for mark, key in keys for part in (mark, self.digest(values[key], str(key)[:40]))))

    def _set(self, values: set | frozenset) -> str:
        if type(values) not in (set, frozenset):
            return self._state(values)
        return _hash("set", *sorted(self.digest(entry, "an entry") for entry in values))

    def _array(self, array: np.ndarray | np.generic) -> str:
        array = np.ma.asarray(array) if isinstance(array, np.ma.MaskedArray) else np.asarray(array)
        if isinstance(array, np.ma.MaskedArray):
            return self._join("masked", values=array.data, mask=np.ma.getmaskarray(array))
        if _is_array_of_bytes(array):
            return _hash("array", array_text(array))
        return self._join("objects", dtype=str(array.dtype), shape=array.shape, entries=array.tolist())

    def _tensor(self, tensor: Tensor) -> str:
        if tensor.is_meta:
            self._refuse(tensor)
        if tensor.layout is not torch.strided:
            return self._join("sparse", layout=tensor.layout, entries=tensor.to_dense())
        return _hash("array", array_text(tensor))

    def _table(self, table: Any) -> str:
        """Read a frame, series or index of pandas or polars, column by column."""
        if hasattr(table, "columns") and hasattr(table, "dtypes"):
            columns = [column for _, column in table.items()] if hasattr(table, "items") else table.get_columns()
            names, index = list(table.columns), getattr(table, "index", None)
            return self._join("frame", index=index, columns=names, entries=[self._table(column) for column in columns])
        dtype = table.dtype
        categories = getattr(dtype, "categories", None) if hasattr(dtype, "ordered") else None
        has_nulls = hasattr(table, "null_count") and table.null_count() > 0  # polars shows them as NaN
        return self._join(
            "column",
            name=table.name if hasattr(table, "name") else None,
            dtype=[str(dtype), getattr(dtype, "ordered", None), None if categories is None else list(categories)],
            entries=table.to_list() if has_nulls else np.asarray(table),
            index=getattr(table, "index", None) if not callable(getattr(table, "index", None)) else None,
        )

    def _generator(self, generator: Any) -> str:
        if isinstance(generator, torch.Generator):
            return self._join("torch.Generator", device=generator.device.type, state=generator.get_state())
        if isinstance(generator, np.random.RandomState):
            return self._join("RandomState", state=generator.get_state(legacy=False))
        bits = getattr(generator, "bit_generator", generator)
        return self._join(type(generator).__name__, state=bits.state)

    def _estimator(self, estimator: Any) -> str:
        was_fitted, self._is_fitted = self._is_fitted, self._is_fitted or _keeps_state(estimator)
        kept = without_times(vars(estimator)) if self._is_fitted else estimator.get_params(deep=False)
        parts = [self.digest(type(estimator), "its class")]
        for name in sorted(kept.keys() - WITHOUT_EFFECT):
            parts += [name, self.digest(kept[name], name)]
        kind = "fitted estimator" if self._is_fitted else "estimator"
        self._is_fitted = was_fitted
        return _hash(kind, *parts)

    def _state(self, value: Any) -> str:
        """Read the class and the state that pickle would take."""
        reduce = copyreg.dispatch_table.get(type(value))
        try:
            reduced = reduce(value) if reduce else value.__reduce_ex__(4)
        except Exception as error:  # whatever objects raise that do not pickle
            self._refuse(value, error)
        if isinstance(reduced, str):
            return self._named_object(value, reduced)
        make, arguments, state, entries, pairs, setter = (*reduced, *[None] * 4)[:6]
        return self._join(
            f"object of {type(value).__name__}",
            its_class=make, arguments=arguments, state=state, entries=list(entries or ()), pairs=dict(pairs or ()),
            setter=setter,
        )  # fmt: skip

    def _named_object(self, value: Any, name: str) -> str:
        """Read what pickle would take by name, if it is found under that name."""
        if not any(getattr(module, "__dict__", {}).get(name) is value for module in list(sys.modules.values())):
            self._refuse(value)
        module = getattr(value, "__module__", None) or type(value).__module__
        return _hash("object by name", str(module), name, package_version(module))

    # --------------------------------------------------------------------------------------------------------- code

    def _function(self, function: FunctionType) -> str:
        module = function.__globals__.get("__name__")
        parts: dict[str, Any] = {
            "name": function.__name__,
            "defaults": function.__defaults__,
            "keyword_defaults": function.__kwdefaults__,
            "attributes": {name: value for name, value in vars(function).items() if name != "__wrapped__"},
            "closure": dict(zip(function.__code__.co_freevars, function.__closure__ or ())),
        }
        if is_installed(module):
            if _is_found_by_name(function, module):
                return _hash("installed", str(module), function.__qualname__, package_version(module))
            home = [module, function.__qualname__, package_version(module)]
            return self._join("installed", home=home, code=code_content(function.__code__), **parts)
        return self._join("function", code=code_content(function.__code__), globals=self._globals(function), **parts)

    def _globals(self, function: FunctionType) -> dict[str, str]:
        names, known = all_names(function.__code__), function.__globals__
        return {
            name: self._module(known[name], names)
            if isinstance(known[name], ModuleType)
            else self.digest(known[name], f"global {name}")
            for name in global_names(function.__code__)
            if name in known
        }

    def _module(self, module: ModuleType, names: Iterable[str] = ()) -> str:
        """Read a module of the user by those of its contents that a function names."""
        if is_installed(module.__name__):
            return _hash("module", module.__name__, package_version(module.__name__))
        if id(module) in self._within:
            return _hash("around it", module.__name__)
        self._within.append(id(module))
        parts = []
        for name in sorted(set(names) & vars(module).keys()):
            value = vars(module)[name]
            is_module = isinstance(value, ModuleType)
            read = self._module(value, names) if is_module else self.digest(value, f"{module.__name__}.{name}")
            parts += [name, read]
        self._within.pop()
        return _hash("module", module.__name__.rpartition(".")[2], *parts)

    def _class(self, cls: type) -> str:
        if is_installed(cls.__module__) and _is_found_by_name(cls, cls.__module__):
            return _hash("class", cls.__module__, cls.__qualname__, package_version(cls.__module__))
        body = {name: value for name, value in vars(cls).items() if name not in _NOT_IN_CLASS}
        return self._join("class", name=cls.__name__, metaclass=type(cls), bases=cls.__bases__, body=body)

    def _builtin(self, function: BuiltinFunctionType) -> str:
        owner = function.__self__
        if owner is None or isinstance(owner, ModuleType):
            module = function.__module__ or getattr(owner, "__name__", None)
            return _hash("builtin", str(module), function.__qualname__, package_version(module))
        return self._join("builtin", name=function.__qualname__, object=owner)

    def _method(self, method: MethodType | MethodWrapperType) -> str:
        function = getattr(method, "__func__", method.__name__)
        return self._join("method", function=function, object=method.__self__)

    def _wrapper(self, value: Any) -> str:
        """Read what wraps functions and does not pickle."""
        within = [getattr(value, name, None) for name in ("__wrapped__", "__func__", "func", "fget", "fset", "fdel")]
        return self._join(type(value).__name__, functions=within)

    def _cell(self, cell: CellType) -> str:
        try:
            content = cell.cell_contents
        except ValueError:  # the name has no value yet
            return _hash("empty cell")
        return self.digest(content, self._path[-1])

    def _descriptor(self, value: Any) -> str:
        return _hash("descriptor", value.__qualname__)


_READ: dict[Any, Any] = {
    (list, tuple): _Reader._sequence,
    (dict, MappingProxyType): _Reader._mapping,
    (set, frozenset): _Reader._set,
    (np.ndarray, np.generic): _Reader._array,
    Tensor: _Reader._tensor,
    (np.random.RandomState, np.random.Generator, np.random.BitGenerator, torch.Generator): _Reader._generator,
    type: _Reader._class,
    FunctionType: _Reader._function,
    BuiltinFunctionType: _Reader._builtin,
    (MethodType, MethodWrapperType): _Reader._method,
    ModuleType: _Reader._module,
    (staticmethod, classmethod, property, cached_property, type(lru_cache(len))): _Reader._wrapper,
    CellType: _Reader._cell,
    (
        WrapperDescriptorType,
        MethodDescriptorType,
        ClassMethodDescriptorType,
        GetSetDescriptorType,
        MemberDescriptorType,
    ): _Reader._descriptor,
}


def _hash(kind: str, *parts: str) -> str:
    text = "".join(f"{len(part)}:{part}" for part in (kind, *parts))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def _plain_text(value: Any) -> str | None:
    """Return a text of a plain value; numbers of numpy read as those of Python that they equal."""
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _PLAIN or isinstance(value, _PLAIN_OF_TORCH):
        return repr(value)
    return None


def _short_text(value: Any) -> str | None:
    """Return a text of a short plain value or of a short sequence of these."""
    text = _plain_text(value)
    if type(value) in (list, tuple) and len(value) <= 8:
        texts = [_plain_text(entry) for entry in value]
        known = [entry for entry in texts if entry is not None]
        start, end = "[]" if isinstance(value, list) else "()"
        if len(known) == len(value):
            text = f"{start}{', '.join(known)}{',' if len(known) == 1 and end == ')' else ''}{end}"
    return text if text is not None and len(text) <= _LONGEST_TEXT else None


def _name_of(value: Any) -> str:
    return getattr(value, "__name__", None) or type(value).__name__


def _is_array_of_bytes(value: Any) -> bool:
    """Return whether all that `value` holds is in its bytes."""
    if isinstance(value, Tensor):
        return value.layout is torch.strided and not value.is_meta
    is_plain = isinstance(value, np.ndarray) and not isinstance(value, np.ma.MaskedArray)
    return is_plain and value.dtype.kind != "T" and not value.dtype.hasobject


def _blocks(array: np.ndarray | Tensor) -> Iterator[np.ndarray]:
    """Yield the bytes of an array; pages of a memory map are let go."""
    rows = array if array.ndim else array.reshape(1)
    pages = MappedPages(array)
    n_rows = max(1, _BLOCK_ENTRIES // max(1, prod(rows.shape[1:])))
    for start in range(0, rows.shape[0] if prod(rows.shape) else 0, n_rows):
        block = rows[start : start + n_rows]
        if isinstance(block, Tensor):  # as bytes: numpy does not know all dtypes of torch
            block = block.detach().resolve_conj().resolve_neg().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        block = np.ascontiguousarray(block).reshape(-1).view(np.uint8)
        yield block
        pages.count(block.nbytes)


def _is_table(value: Any) -> bool:
    packages = {cls.__module__.partition(".")[0] for cls in type(value).__mro__}
    return not packages.isdisjoint({"pandas", "polars"}) and hasattr(value, "shape")


def _is_estimator(value: Any) -> bool:
    return hasattr(type(value), "get_params") and not isinstance(value, type)


def _keeps_state(estimator: Any) -> bool:
    """Return whether `clone` leaves the estimator as it is, with what it has learned, as a FrozenEstimator."""
    clone = getattr(type(estimator), "__sklearn_clone__", None)
    return clone is not None and getattr(clone, "__module__", None) != "sklearn.base"


def _is_found_by_name(value: Any, module: str | None) -> bool:
    """Return whether a function or class is what its module has under its name; others were made while code ran."""
    found: Any = sys.modules.get(str(module))
    for name in value.__qualname__.split("."):
        found = getattr(found, name, None)
    return found is value
