"""Torch's defaults inside the package, whatever its caller has set for code of his own.

``torch.set_default_device``, ``with torch.device(...)``, ``torch.set_default_dtype`` and ``torch.autocast`` decide what
tensors become that do not say it themselves, and in which precision products are taken. Public functions and methods
run as if none had been set: the device of a result is that of X or of the parameter `device`, its type that of X.
Networks of builders are made and run likewise; iterators over chunks and callbacks run with the caller's settings.

Nothing is set and set back: that would reach the other threads of the process. Tensors are told device and type as they
are made, by a mode of this thread, where the caller's settings differ from the defaults.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from types import FunctionType
from typing import Any, ParamSpec, TypeVar

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._device import _device_constructors

_DEVICE_TYPES = ("cpu", "cuda")  # that have autocast
_FLOATS = {
    torch.empty,
    torch.zeros,
    torch.ones,
    torch.rand,
    torch.randn,
    torch.eye,
    torch.linspace,
    torch.empty_strided,
}
_OF_VALUES = {torch.tensor: 0, torch.as_tensor: 0, torch.asarray: 0, torch.full: 1, torch.arange: 0}  # place of one

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")

_state = threading.local()


class _Defaults(TorchFunctionMode):
    """Lets new tensors be of float32 and on the CPU, unless they say otherwise."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in _device_constructors() and _is_inside():
            if kwargs.get("device") is None:
                kept = args[0].device if args and isinstance(args[0], torch.Tensor) else "cpu"
                kwargs = {**kwargs, "device": kept}
            if kwargs.get("dtype") is None and _makes_floats(func, args, kwargs):
                kwargs = {**kwargs, "dtype": torch.float32}
        return func(*args, **kwargs)


def _makes_floats(func: Any, args: Any, kwargs: Any) -> bool:
    """Return whether the type of what `func` makes is torch's default."""
    if kwargs.get("out") is not None:
        return False
    if func not in _OF_VALUES:
        return func in _FLOATS
    value = args[_OF_VALUES[func]] if len(args) > _OF_VALUES[func] else kwargs.get("data", kwargs.get("fill_value"))
    if func is torch.arange:
        return any(isinstance(value, float) for value in args)
    while isinstance(value, list | tuple) and value:
        value = value[0]
    return type(value) is float


def _is_inside() -> bool:
    return getattr(_state, "is_inside", False)


def _are_default() -> bool:
    """Return whether new tensors and products are as torch has them by default."""
    has_modes = torch._C._len_torch_function_stack() > 0  # without one there is no other default device
    return (
        torch.get_default_dtype() is torch.float32
        and not any(torch.is_autocast_enabled(kind) for kind in _DEVICE_TYPES)
        and not (has_modes and torch.get_default_device().type != "cpu")
    )


@contextmanager
def torch_defaults() -> Iterator[None]:
    """Inside, in this thread, torch has its own defaults; blocks may be nested."""
    if _is_inside() or _are_default():
        yield
        return
    _state.is_inside = True
    with ExitStack() as stack:
        stack.callback(setattr, _state, "is_inside", False)
        _state.autocast = {
            kind: torch.get_autocast_dtype(kind) for kind in _DEVICE_TYPES if torch.is_autocast_enabled(kind)
        }
        for kind in _state.autocast:
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(_Defaults())
        yield


@contextmanager
def caller_settings() -> Iterator[None]:
    """Inside a block of :func:`torch_defaults`, the settings of the caller again, for code of his."""
    if not _is_inside():
        yield
        return
    with ExitStack() as stack:
        stack.callback(setattr, _state, "is_inside", True)
        for kind, dtype in _state.autocast.items():
            stack.enter_context(torch.autocast(kind, dtype=dtype))
        _state.is_inside = False
        yield


def with_defaults(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Let a public function run in :func:`torch_defaults`."""

    @wraps(function)
    def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if _is_inside() or _are_default():
            return function(*args, **kwargs)
        with torch_defaults():
            return function(*args, **kwargs)

    return call


class RunsWithDefaults:
    """Base of classes whose public methods and properties run in :func:`torch_defaults`."""

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, value in list(vars(cls).items()):
            if name.startswith("_"):
                continue
            if isinstance(value, FunctionType):
                setattr(cls, name, with_defaults(value))
            elif isinstance(value, property) and value.fget is not None:
                setattr(cls, name, property(with_defaults(value.fget), value.fset, value.fdel, value.__doc__))
