"""Functions that are applied again and again, on a GPU as one launch each: CUDA graphs on buffers of their own.

A kernel of a small batch takes a GPU less time than the host needs to ask for it. A graph is a recorded sequence of
kernels that is asked for once. It reads and writes the memory that it was recorded on, so what it works on is copied
there first; numbers of Python are part of the recording. Graphs are kept for the same function on tensors of the same
shapes with the same numbers, and made when these come for the second time. Where recording fails, or the first replay
does not give what the function itself gives, the function goes on being called, after a warning.

Tests replay graphs of a pretend GPU, operation by operation, and those with the mark ``gpu`` of a real one.
"""

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any

import torch
from torch import Tensor, nn

from skvardict._utils.messages import warn

_MOST_GRAPHS, _MOST_SEEN = 24, 96  # of a thread; a graph holds its buffers
_PACKAGE = "skvardict."
_TOLERANCE = 1e-3  # relative to the largest entry: what another order of summation may change

Function = Callable[..., Any]

_kept = threading.local()


class Repeated:
    """``state <- function(constants, state, argument)`` for one argument after another.

    Parameters
    ----------
    function : callable
        It reads nothing that changes but its arguments, changes none of the constants, and does not wait for a device.
    constants, state : Tensor, or tuple or object of the package with tensors in it
        Modules count as constants; their weights are read where they are.
    settings : hashable
        Whatever else decides what the function does; with its name, its identity.
    is_captured : bool
        Whether it may become a graph.

    Attributes
    ----------
    state
        Its memory may be used again, by this and other functions of the thread: to be cloned where it is kept.
    """

    def __init__(self, function: Function, constants: Any, state: Any, settings: Hashable, *, is_captured: bool):
        self._function, self._constants, self.state = function, constants, state
        self._settings, self._may_capture = settings, is_captured
        self._graph: _Graph | None = None  # in whose buffers the state is

    def apply(self, argument: Tensor) -> None:
        """Apply the function once more."""
        if self._may_capture and self._replay(argument):
            return
        self.state, self._graph = self._function(self._constants, self.state, argument), None

    def _replay(self, argument: Tensor) -> bool:
        """Apply the function by a graph; return whether there is one."""
        if self._graph is not None and self._graph.argument.shape == argument.shape:
            self._graph.argument.copy_(argument)
            self._graph.replay()
            return True
        parts = (self._constants, self.state, argument)
        key = None if (shape := skeleton(parts)) is None else (self._settings, shape)
        graph = None if key is None else _graph_for(key, self._function, parts)
        if graph is None:
            return False
        graph.load(parts)
        graph.replay()
        self.state, self._graph = graph.state, graph
        return True


def evaluated(function: Function, parts: tuple[Any, ...], settings: Hashable) -> Any:
    """Return ``function(*parts)``, from a graph where it has come before.

    Parameters
    ----------
    function : callable
        It reads nothing that changes but its arguments, changes none of them but buffers of modules, and does not wait
        for a device.
    parts : tuple of Tensor, or of tuples, dicts and objects of the package with tensors in them
        Modules count as they do for :class:`Repeated`.
    settings : hashable
        Whatever else decides what the function does; with its name, its identity.

    Returns
    -------
    What the function returns: constants, whose memory is used again by the next call on parts of the same shapes.
    """
    key = None if (shape := skeleton(parts)) is None else (settings, shape)
    graph = None if key is None else _graph_for(key, function, parts, _Evaluation)
    if graph is None:
        return function(*parts)
    graph.load(parts)
    graph.replay()
    return graph.state


class _Graph:
    """A recorded function of a state, with the buffers that it works on."""

    def __init__(self, function: Function, parts: tuple[Any, ...]):
        self.parts = map_tensors(parts, lambda tensor: torch.empty_like(tensor, memory_format=torch.contiguous_format))
        self.function = function
        self.modules = _modules_of(parts)
        self._look_at_parts()
        self.load(parts)
        device = tensors_of(self.parts)[0].device
        with torch.cuda.device(device):
            self._warm_up()
            self.load(parts)
            self._recording = torch.cuda.CUDAGraph()
            with torch.cuda.graph(self._recording, capture_error_mode="thread_local"):
                self._run()

    def _look_at_parts(self) -> None:
        _, self.state, self.argument = self.parts

    def load(self, parts: tuple[Any, ...]) -> None:
        """Copy what the function is given into the buffers."""
        _copy_(self.parts, parts)

    def replay(self) -> None:
        """Apply the function to the buffers; its result is then the state."""
        self._recording.replay()

    def is_right(self, expected: Any, parts: tuple[Any, ...]) -> bool:
        """Return whether a replay on `parts` gives the `expected` state."""
        self.load(parts)
        self.replay()
        return all(_are_close(*pair) for pair in zip(tensors_of(self.state), tensors_of(expected), strict=True))

    def _run(self) -> None:
        # Of a copy of the structure: what the function remembers are attributes of it.
        _copy_(self.state, self.function(*map_tensors(self.parts, lambda tensor: tensor)))

    def _warm_up(self) -> None:
        """Run once outside of a recording, where libraries set themselves up."""
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            self._run()
        torch.cuda.current_stream().wait_stream(stream)


class _Evaluation(_Graph):
    """A recorded function whose result has memory of its own."""

    def _look_at_parts(self) -> None:
        self.state: Any = None

    def _run(self) -> None:
        self.state = self.function(*map_tensors(self.parts, lambda tensor: tensor))


def _graph_for(key: Hashable, function: Function, parts: tuple[Any, ...], kind: type[_Graph] = _Graph) -> _Graph | None:
    """Return the graph of a function, made where it is asked for a second time; None: there is none."""
    graphs: OrderedDict[Hashable, _Graph | None] = vars(_kept).setdefault("graphs", OrderedDict())
    seen: OrderedDict[Hashable, None] = vars(_kept).setdefault("seen", OrderedDict())
    if key not in graphs:
        if key not in seen:
            seen[key] = None
            _shorten(seen, _MOST_SEEN)
            return None
        graphs[key] = _capture(kind, function, parts)
        _shorten(graphs, _MOST_GRAPHS)
    graphs.move_to_end(key)
    return graphs[key]


def _shorten(kept: OrderedDict, most: int) -> None:
    """Drop the oldest entries."""
    while len(kept) > most:
        kept.popitem(last=False)


def _capture(kind: type[_Graph], function: Function, parts: tuple[Any, ...]) -> _Graph | None:
    """Return a graph that was seen to give what the function gives, or None, after a warning.

    Buffers of modules are then what they were.
    """
    buffers = [buffer for module in _modules_of(parts) for buffer in module.buffers()]
    before = [buffer.clone() for buffer in buffers]

    def put_back() -> None:
        if buffers:
            torch._foreach_copy_(buffers, before)

    try:
        graph = kind(function, parts)
        put_back()
        expected = function(*map_tensors(parts, lambda tensor: tensor))
        put_back()
        is_right = graph.is_right(expected, parts)
        put_back()
        if is_right:
            return graph
        problem = "its results differ from those of single launches"
    except RuntimeError as error:
        problem = str(error)
    warn(f"A CUDA graph is not used, {problem}. Results are the same without it; a step takes longer.")
    return None


def forget_graphs(*, of_modules: bool = False) -> None:
    """Let the graphs of this thread go, with their memory on the device; or only those of modules, as a fit ends."""
    graphs: dict[Hashable, _Graph | None] = vars(_kept).get("graphs", {})
    if of_modules:
        for key in [key for key, graph in graphs.items() if graph is not None and graph.modules]:
            del graphs[key]
    else:
        vars(_kept).clear()


# --- trees of tensors -------------------------------------------------------------------------------------------------


def map_tensors(tree: Any, change: Callable[[Tensor], Tensor]) -> Any:
    """Return a copy of tuples, dicts and objects of the package, with ``change(tensor)`` for every tensor."""
    if isinstance(tree, Tensor):
        return change(tree)
    if isinstance(tree, dict):
        return {name: map_tensors(part, change) for name, part in tree.items()}
    if isinstance(tree, tuple):
        parts = [map_tensors(part, change) for part in tree]
        return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)
    if not _is_own(tree):
        return tree
    made = object.__new__(type(tree))
    vars(made).update({name: map_tensors(value, change) for name, value in vars(tree).items()})
    return made


def tensors_of(tree: Any) -> list[Tensor]:
    """Return the tensors that :func:`map_tensors` changes."""
    return [leaf for leaf in _leaves(tree) if isinstance(leaf, Tensor)]


def _modules_of(tree: Any) -> list[nn.Module]:
    return [leaf for leaf in _leaves(tree) if isinstance(leaf, nn.Module)]


def _leaves(tree: Any) -> list[Any]:
    """Return what is no tuple, dict or object of the package, modules as a whole."""
    leaves: list[Any] = []
    _add_leaves(tree, leaves)
    return leaves


def _add_leaves(tree: Any, leaves: list[Any]) -> None:
    if isinstance(tree, Tensor) or tree is None:
        leaves.append(tree)
    elif isinstance(tree, tuple):
        for part in tree:
            _add_leaves(part, leaves)
    elif isinstance(tree, dict) or _is_own(tree):
        for part in (tree if isinstance(tree, dict) else vars(tree)).values():
            _add_leaves(part, leaves)
    else:
        leaves.append(tree)


def skeleton(tree: Any) -> Hashable:
    """Return all of a tree but the values of its tensors; None where it holds what nothing is known of."""
    if isinstance(tree, Tensor):
        return tree.shape, tree.dtype, tree.device
    if tree is None or isinstance(tree, bool | int | float | str):
        return type(tree), tree
    if isinstance(tree, nn.Module):
        return _skeleton_of_module(tree)
    if isinstance(tree, tuple):
        names: Any = None
        parts = [skeleton(part) for part in tree]
    elif isinstance(tree, dict) or _is_own(tree):
        entries = tree if isinstance(tree, dict) else vars(tree)
        names, parts = tuple(entries), [skeleton(part) for part in entries.values()]
    else:
        return None
    return None if None in parts else (type(tree), names, *parts)


def _skeleton_of_module(module: nn.Module) -> Hashable:
    """Return which module it is, and where its weights are."""
    places = [id(module)]
    for part in module.modules():
        if not _is_known(type(part)):
            return None
        weights = (*part._parameters.values(), *part._buffers.values())
        places += [weight.data_ptr() for weight in weights if weight is not None]
    return tuple(places)


def _is_known(kind: type) -> bool:
    return kind.__module__.startswith((_PACKAGE, "torch.nn."))


def _is_own(tree: Any) -> bool:
    return type(tree).__module__.startswith(_PACKAGE) and not isinstance(tree, nn.Module)


def _copy_(targets: Any, sources: Any) -> None:
    """Copy tensors into those at the same places of another tree, with one call for each dtype."""
    pairs = [pair for pair in zip(tensors_of(targets), tensors_of(sources), strict=True) if pair[0] is not pair[1]]
    for dtype in dict.fromkeys(target.dtype for target, _ in pairs):
        some = [pair for pair in pairs if pair[0].dtype == dtype]
        torch._foreach_copy_([target for target, _ in some], [source for _, source in some])


def _are_close(made: Tensor, expected: Tensor) -> bool:
    if not made.is_floating_point():
        return bool((made == expected).all())
    size = expected.abs().nan_to_num(posinf=0.0).amax() if expected.numel() else 0.0
    return bool(torch.isclose(made, expected, rtol=_TOLERANCE, atol=float(size) * _TOLERANCE, equal_nan=True).all())
