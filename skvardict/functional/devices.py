"""Ways between the host and a device that do not wait for each other where it can be helped.

A GPU works through a queue that the host fills. A number that the host has to see empties it, and so does a number that
it sends from ordinary memory: every such wait costs more than a small kernel. On the CPU these functions do the plain
thing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor


def number_like(value: float | Tensor, like: Tensor) -> Tensor:
    """Return `value` as a tensor with dtype and device of `like`; a number becomes one of shape ()."""
    if isinstance(value, Tensor):
        return value.to(dtype=like.dtype, device=like.device)
    return torch.full((), value, dtype=like.dtype, device=like.device)


def numbers_like(values: Sequence[float], like: Tensor) -> Tensor:
    """Return `values` as a vector with dtype and device of `like`."""
    return to_device(torch.tensor(values, dtype=like.dtype, device="cpu"), like.device)


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on `device`; from the CPU to a GPU it goes by way of pinned memory."""
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    return tensor.pin_memory().to(device, non_blocking=True)


def to_host(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return tensors on the CPU, those of one dtype in one copy; what is there already, or no tensor, as it is."""
    moved = dict(values)
    away = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.device.type != "cpu"}
    for dtype in {value.dtype for value in away.values()}:
        some = {name: value.detach() for name, value in away.items() if value.dtype == dtype}
        flat = torch.cat([value.reshape(-1) for value in some.values()]).cpu()
        pieces = flat.split([value.numel() for value in some.values()])
        moved |= {name: piece.view(some[name].shape) for name, piece in zip(some, pieces, strict=True)}
    return moved


class LateAnswer:
    """A question to the device, asked again and again: on a GPU the host hears the answer to the one before.

    The answer goes to pinned memory behind the work that is queued. Until it is asked for there is more work in the
    queue, so that the device does not run dry while the host waits.
    """

    def __init__(self):
        self._answer: Tensor | None = None
        self._arrived: Any = None

    def __call__(self, answer: Tensor) -> bool:
        """Return `answer`, a truth value; on a GPU that of the call before, and at first false."""
        if not answer.is_cuda:
            return bool(answer)
        before = False
        if self._answer is None:
            self._answer = torch.empty((), dtype=torch.bool, device="cpu", pin_memory=True)
            self._arrived = torch.cuda.Event()
        else:
            self._arrived.synchronize()
            before = bool(self._answer)
        self._answer.copy_(answer, non_blocking=True)
        self._arrived.record(torch.cuda.current_stream(answer.device))
        return before
