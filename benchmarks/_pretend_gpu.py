"""A pretend GPU on the CPU: real values, and an account of what a GPU would be asked to do.

A tensor of :class:`OnDevice` holds one of the CPU and says that it is on cuda:0. What mixes it with plain tensors
raises, what would make the host wait for the device is counted with the line that asked for it, and every operation is
counted as a launch of a kernel. Graphs (``torch.cuda.graph``) are recorded and replayed on the recorded tensors, as one
launch; what a capture does not allow raises there too. Nothing here says how fast a GPU is, or how it rounds.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from typing import Any
from unittest import mock

import torch
import torch.distributed.tensor  # imported late by torch itself, and confused by the generators below
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import return_and_correct_aliasing
from torch.utils._pytree import tree_flatten, tree_map

from skvardict.functional.graphs import forget_graphs

DEVICE = torch.device("cuda", 0)
_PACKAGE = "/skvardict/"
_WAITING = {
    *("_local_scalar_dense", "nonzero", "masked_select", "_unique2", "equal", "multinomial"),
    *("_linalg_check_errors", "_linalg_eigh"),
}
_FREE = {
    *("detach", "alias", "view", "_unsafe_view", "_reshape_alias", "as_strided", "expand", "permute", "t", "transpose"),
    *("slice", "select", "unsqueeze", "squeeze", "squeeze_", "split", "split_with_sizes", "unbind", "diagonal"),
    *("empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "lift_fresh", "unfold"),
    *("_local_scalar_dense", "set_"),
}
_FROM_NUMBERS = {"tensor", "as_tensor", "asarray", "new_tensor"}
_PlainGenerator = torch.Generator


class DeviceMismatchError(RuntimeError):
    """Tensors, or a tensor and a generator, of two devices met."""


class Trace:
    """What has been asked of the device.

    Attributes
    ----------
    launches : int
        Operations, with a replayed graph as one.
    in_graphs : int
        Operations within replayed graphs.
    waits : Counter
        Lines that made the host wait until the device had nothing left to do.
    pauses : Counter
        Lines at which the host waited for a part of the work, with more of it queued behind.
    """

    def __init__(self):
        self.launches, self.in_graphs = 0, 0
        self.waits, self.pauses = Counter(), Counter()
        self.graph: _Graph | None = None  # that is being captured
        self.pinned: dict[int, Any] = {}  # storages, which keeps their addresses from being used again

    def wait(self, why: str) -> None:
        """Count a wait at the line of the package that is being run."""
        if self.graph is not None:
            raise RuntimeError(f"{why} at {_place()}: not permitted when stream is capturing")
        self.waits[f"{_place()} {why}"] += 1


trace = Trace()


def _place() -> str:
    frame = sys._getframe(2)
    while frame is not None and _PACKAGE not in frame.f_code.co_filename:
        frame = frame.f_back
    return f"{frame.f_code.co_filename.rpartition(_PACKAGE)[2]}:{frame.f_lineno}" if frame else "outside"


def _is_gpu(device: Any) -> bool:
    return device is not None and torch.device(device).type == DEVICE.type


def _held(value: Any) -> Any:
    return value.held if isinstance(value, OnDevice) else value


def _put(value: Any) -> Any:
    return OnDevice(value) if type(value) in (torch.Tensor, torch.nn.Parameter) else value


def _pin(tensor: torch.Tensor) -> torch.Tensor:
    storage = tensor.untyped_storage()
    trace.pinned[storage.data_ptr()] = storage
    return tensor


def _is_pinned(tensor: torch.Tensor) -> bool:
    return tensor.untyped_storage().data_ptr() in trace.pinned


class OnDevice(torch.Tensor):
    """A tensor of the CPU that says it is on the GPU."""

    device, is_cuda = property(lambda self: DEVICE), property(lambda self: True)
    held: torch.Tensor

    @staticmethod
    def __new__(cls, tensor):
        tensor = tensor.detach()
        self = torch.Tensor._make_wrapper_subclass(
            cls, tensor.shape, strides=tensor.stride(), storage_offset=tensor.storage_offset(), dtype=tensor.dtype
        )
        self.held = tensor
        return self

    def data_ptr(self):
        """Return where the values are."""
        return self.held.data_ptr()

    @property
    def data(self):
        """The tensor without its graph; setting it takes over the memory of another."""
        return self.detach()

    @data.setter
    def data(self, other):
        self.held = other.held

    def __deepcopy__(self, memo):
        made = OnDevice(self.held.clone()).requires_grad_(self.requires_grad)
        if getattr(self, "_is_param", False):
            made._is_param = True
        memo[id(self)] = made
        return made

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        kwargs, name = kwargs or {}, func._schema.name.removeprefix("aten::")
        _look_at(name, args, kwargs)
        is_free = name in _FREE
        trace.launches += not is_free
        if trace.graph is not None and not is_free:
            return trace.graph.record(func, args, kwargs)
        out = func(*tree_map(_held, args), **tree_map(_held, kwargs))
        return return_and_correct_aliasing(func, args, kwargs, tree_map(_put, out))


def _look_at(name: str, args: Any, kwargs: Any) -> None:
    """Raise where devices mix; count a wait where the host would make one."""
    tensors = [value for value in tree_flatten((args, kwargs))[0] if isinstance(value, torch.Tensor)]
    foreign = [value for value in tensors if not isinstance(value, OnDevice)]
    if name in ("copy_", "_to_copy") and foreign:
        non_blocking = kwargs.get("non_blocking", False) or args[2:3] == (True,)
        if not (non_blocking and all(map(_is_pinned, foreign))):
            trace.wait("host to device" if isinstance(args[0], OnDevice) else "device to host")
    elif name in ("index", "index_put_", "index_put", "_index_put_impl_"):
        indices = [index for index in args[1] if index is not None]
        if any(index.dtype == torch.bool or not isinstance(index, OnDevice) for index in indices):
            trace.wait("mask or index on the host")
    elif any(value.dim() for value in foreign):  # a number on the host may meet anything
        raise DeviceMismatchError(f"{name} at {_place()}: {[(type(t).__name__, *t.shape) for t in tensors]}")
    if name in _WAITING:
        trace.wait(name.strip("_"))


class _Graph:
    """Operations with the tensors they were captured on, whose addresses they keep."""

    def __init__(self, **options: Any):
        self.operations: list[tuple[Any, Any, Any, Any]] = []

    def record(self, func, args, kwargs):
        """Note an operation; what writes into a tensor is not carried out, what makes one leaves its values open."""
        schema = func._schema
        given = [*args, *(kwargs.get(argument.name) for argument in schema.arguments[len(args) :])]
        written = [
            value
            for argument, value in zip(schema.arguments, given, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
        ]
        if written:
            out = written[0] if schema.returns else None
        else:
            values = func(*tree_map(_held, args), **tree_map(_held, kwargs))
            for value in tree_flatten(values)[0]:
                if isinstance(value, torch.Tensor) and value.is_floating_point():
                    value.fill_(torch.nan)
            out = tree_map(_put, values)
        self.operations.append((func, args, kwargs, None if written else out))
        return out

    def replay(self) -> None:
        """Carry all of them out."""
        for func, args, kwargs, out in self.operations:
            values = func(*tree_map(_held, args), **tree_map(_held, kwargs))
            for made, value in zip(tree_flatten(out)[0], tree_flatten(values)[0], strict=False):
                if isinstance(made, OnDevice):
                    made.held.copy_(value)
        trace.launches += 1
        trace.in_graphs += len(self.operations)


@contextmanager
def _capture(graph: _Graph, **options: Any) -> Iterator[None]:
    launches, trace.graph = trace.launches, graph
    try:
        yield
    finally:
        trace.graph, trace.launches = None, launches


class _Event:
    """Marks a place in the queue of the device."""

    def __init__(self, **options: Any):
        self._at: int | None = None

    def record(self, stream: Any = None) -> None:
        self._at = trace.launches

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        if self._at is None:
            return
        if trace.launches > self._at:
            trace.pauses[f"{_place()} event"] += 1
        else:
            trace.wait("event")


class _DeviceGenerator(_PlainGenerator):
    device = DEVICE


class _AnyGenerator(_PlainGenerator):
    def __new__(cls, device="cpu"):
        return _DeviceGenerator() if _is_gpu(device) else _PlainGenerator()


class _Functions(TorchFunctionMode):
    """What never reaches the dispatcher: factories with device=, and the ways between device and host."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        kwargs, name, first = dict(kwargs or {}), getattr(func, "__name__", ""), args[0] if args else None
        on_gpu, wants_gpu = isinstance(first, OnDevice), _is_gpu(kwargs.get("device")) and name != "_parse_to"
        generator = kwargs.get("generator")
        if generator is not None and isinstance(generator, _DeviceGenerator) != (on_gpu or wants_gpu):
            raise DeviceMismatchError(f"{name} at {_place()}: a generator of another device")
        if name == "pin_memory":
            return _pin(first.clone())
        if name == "is_pinned":
            return not on_gpu and _is_pinned(first)
        if kwargs.pop("pin_memory", False):
            return _pin(func(*args, **kwargs))
        if name in ("to", "cpu", "cuda") and isinstance(first, torch.Tensor):
            return self._move(name, first, args[1:], kwargs)
        if name in ("numpy", "__array__") and on_gpu:
            raise TypeError(f"{name}() of a tensor on {DEVICE} at {_place()}")
        if name == "tolist" and on_gpu:
            trace.wait(name)
            return first.held.tolist()
        if name in ("as_tensor", "asarray") and on_gpu:
            return func(*args, **{**kwargs, "device": None})
        if wants_gpu or (name == "new_tensor" and on_gpu):
            return self._make(func, name, first, args, kwargs)
        return func(*args, **kwargs)

    def _make(self, func, name, first, args, kwargs):
        if name in _FROM_NUMBERS:
            trace.wait("number from the host")
        elif not name.startswith("empty"):
            trace.launches += 1
        if name == "new_tensor":
            return _put(torch.tensor(args[1], dtype=first.dtype))
        made = tree_map(_put, func(*tree_map(_held, args), **{**kwargs, "device": "cpu"}))
        if trace.graph is not None and not name.startswith("empty"):
            again = (made, OnDevice(made.held.clone()))
            trace.graph.operations.append((torch.ops.aten.copy_.default, again, {}, None))
        return made

    def _move(self, name, tensor, args, kwargs):
        device = {"cpu": "cpu", "cuda": DEVICE}.get(name, kwargs.pop("device", None))
        for value in (*args, kwargs.pop("other", None)):
            if isinstance(value, torch.Tensor):
                device, kwargs["dtype"] = value.device, value.dtype
            elif isinstance(value, str | torch.device):
                device = value
            elif isinstance(value, torch.dtype):
                kwargs["dtype"] = value
        is_on = isinstance(tensor, OnDevice)
        goes_on = is_on if device is None else _is_gpu(device)
        if is_on and not goes_on and "/torch/nn/utils/" in sys._getframe(2).f_code.co_filename:
            goes_on = True  # gradient clipping groups by the device that C++ sees
        if is_on != goes_on:
            return self._cross(tensor, kwargs, leaves=is_on)
        return tensor.to(**kwargs) if kwargs else tensor

    def _cross(self, tensor, kwargs, *, leaves):
        """Copy to the other side; torch takes the target of a copy to the host from pinned memory, if it may."""
        non_blocking = kwargs.pop("non_blocking", False)
        if not (non_blocking and (leaves or _is_pinned(tensor))):
            trace.wait("device to host" if leaves else "host to device")
        moved = _held(tensor).to(**{"copy": True, **kwargs})
        trace.launches += 1
        if leaves:
            return _pin(moved) if non_blocking else moved
        return _put(moved)


@contextmanager
def pretend_gpu(free_bytes: int = 2**34) -> Iterator[Trace]:
    """Inside, there is a GPU with `free_bytes` of memory; the account of what it is asked to do starts anew."""
    vars(trace).update(vars(Trace()))
    forget_graphs()
    cuda: dict[str, Any] = {
        "is_available": lambda: True,
        "is_initialized": lambda: False,  # or generators of the device would be seeded
        "device_count": lambda: 1,
        "mem_get_info": lambda device=None: (free_bytes, free_bytes),
        "synchronize": lambda device=None: trace.wait("synchronize"),
        "CUDAGraph": _Graph,
        "graph": _capture,
        "Event": _Event,
        "current_stream": lambda device=None: mock.MagicMock(),
        "Stream": mock.MagicMock(),
        "stream": lambda stream: nullcontext(),
        "device": lambda device: nullcontext(),
    }
    with ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(torch.cuda, **cuda))
        stack.enter_context(mock.patch.object(torch, "Generator", _AnyGenerator))
        stack.enter_context(mock.patch.object(torch.__future__, "_overwrite_module_params_on_conversion", True))
        stack.enter_context(_Functions())
        yield trace
