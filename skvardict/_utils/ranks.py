"""Several processes that fit one model together, and what they tell each other.

The processes are the ranks of a group of ``torch.distributed``. In a fit all of them make the same steps, and each
computes with its own part of the rows of every batch. Whatever a batch says as a whole is a sum over its rows, hence a
sum over ranks: the functions of this file take what a rank has and return what all of them have together. Outside of
such a fit there is nobody else, and they return what they are given.

Nothing may be asked of other ranks in a branch that not all of them take: the others would wait.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

Result = TypeVar("Result")


class RankError(RuntimeError):
    """Another rank of a fit in several processes failed or was lost, so that this one cannot go on either."""


class Batch(NamedTuple):
    """A batch that all ranks share.

    Attributes
    ----------
    n_rows : int
        Of all ranks together.
    positions : Tensor of shape (n_own,)
        Where the rows of this rank stand in it.
    """

    n_rows: int
    positions: Tensor


class Ranks:
    """The processes that work together, as one of them sees them.

    Parameters
    ----------
    group : ProcessGroup or None
        None is the group of all processes.
    holds : {"same", "shard"}
        Whether every rank is given all rows, or some of its own.
    """

    def __init__(self, group: Any, holds: str):
        self.group, self.holds = group, holds
        self.index, self.size = torch.distributed.get_rank(group), torch.distributed.get_world_size(group)
        self.batch: Batch | None = None

    def reduce_(self, values: Tensor, operation: str = "SUM") -> Tensor:
        """Return the sum, or "MIN" or "MAX", over ranks; `values` may be overwritten."""
        distributed = torch.distributed
        there = values.to(self._device(values))
        with _speaking():
            distributed.all_reduce(there, getattr(distributed.ReduceOp, operation), self.group)
        return there.to(values.device)

    def gather(self, value: Result) -> list[Result]:
        """Return the values of all ranks, in their order; anything that pickles."""
        values: list[Any] = [None] * self.size
        with _speaking():
            torch.distributed.all_gather_object(values, value, self.group)
        return values

    def from_first(self, value: Result) -> Result:
        """Return the value of the first rank."""
        box = [value if self.index == 0 else None]
        source = 0 if self.group is None else torch.distributed.get_global_rank(self.group, 0)
        with _speaking():
            torch.distributed.broadcast_object_list(box, source, self.group)
        return box[0]  # type: ignore[return-value]

    def _device(self, values: Tensor) -> torch.device:
        """Return where values are exchanged: where they are, or on the GPU if the group knows nothing else."""
        if values.is_cuda or torch.distributed.get_backend(self.group) != "nccl":
            return values.device
        return torch.device("cuda", torch.cuda.current_device())


@contextmanager
def _speaking() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        raise RankError(
            "A rank of the process group did not answer: it has ended, failed or lost its connection. Start all ranks "
            f"again; with checkpoint= the fit goes on where it was, with as many ranks or others. ({error})"
        ) from error


_chosen: ContextVar[Ranks | None] = ContextVar("chosen", default=None)  # by the user's context
_current: ContextVar[Ranks | None] = ContextVar("current", default=None)  # in a fit inside it
_speaks: ContextVar[bool] = ContextVar("speaks", default=True)  # whether this process warns and prints


@contextmanager
def choose(group: Any, holds: str) -> Iterator[None]:
    """Let fits inside the block be those of all ranks of `group`; without other processes they stay as they are."""
    is_own = group is None and _start_group()
    try:
        ranks = Ranks(group, holds) if is_ready() else None
        token = _chosen.set(ranks if ranks is not None and ranks.size > 1 else None)
        try:
            yield
        finally:
            _chosen.reset(token)
    finally:
        if is_own:
            torch.distributed.destroy_process_group()


def is_ready() -> bool:
    """Return whether there is a process group."""
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _start_group() -> bool:
    """Start the group that torchrun has prepared, where nobody has; return whether that happened."""
    is_prepared = {"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"} <= os.environ.keys()
    if not is_prepared or not torch.distributed.is_available() or is_ready():
        return False
    torch.distributed.init_process_group()
    return True


@contextmanager
def together() -> Iterator[None]:
    """Work together inside the block with the ranks that the user has chosen, if any."""
    ranks = _chosen.get()
    token, speaking = _current.set(ranks), _speaks.set(ranks is None or ranks.index == 0)
    try:
        yield
    finally:
        if ranks is not None:
            ranks.batch = None  # an error may have left one
        _current.reset(token)
        _speaks.reset(speaking)


@contextmanager
def alone() -> Iterator[None]:
    """Tell others nothing inside the block: what it calls may differ between ranks."""
    token = _current.set(None)
    try:
        yield
    finally:
        _current.reset(token)


def current() -> Ranks | None:
    """Return the ranks that work together now; None outside of a fit in several processes."""
    return _current.get()


def is_first() -> bool:
    """Return whether this is the rank that writes and warns for all, also in what it does alone."""
    return _speaks.get()


# --- numbers and tensors ----------------------------------------------------------------------------------------------


def all_sums(*values: Tensor) -> tuple[Tensor, ...]:
    """Return the sums of all `values` over ranks, in one message."""
    ranks = _current.get()
    if ranks is None:
        return values
    summed = ranks.reduce_(torch.cat([value.reshape(-1) for value in values]))
    parts = summed.split([value.numel() for value in values])
    return tuple(part.view(value.shape) for part, value in zip(parts, values, strict=True))


def all_sum(value: Tensor) -> Tensor:
    """Return the sum over ranks; differentiable, for losses that ranks weigh by their :func:`share` of the rows."""
    ranks = _current.get()
    if ranks is None:
        return value
    return _AllSum.apply(value, ranks) if value.requires_grad else all_sums(value)[0]


class _AllSum(torch.autograd.Function):
    """The sum over ranks; the gradient is the sum of theirs. Ranks are handed on: a backward pass has other threads."""

    @staticmethod
    def forward(ctx, value: Tensor, ranks: Ranks) -> Tensor:
        ctx.ranks = ranks
        return ranks.reduce_(value.detach().clone())

    @staticmethod
    def backward(ctx, grad_output: Tensor):
        return ctx.ranks.reduce_(grad_output.clone(memory_format=torch.contiguous_format)), None


def all_min(value: Tensor) -> Tensor:
    """Return the smallest value of all ranks, entry by entry."""
    ranks = _current.get()
    return value if ranks is None else ranks.reduce_(value.clone(), "MIN")


def all_count(number: int) -> int:
    """Return the sum of a number over ranks."""
    ranks = _current.get()
    return number if ranks is None else int(ranks.reduce_(torch.tensor(number)))


def any_of(flag: Any) -> bool:
    """Return whether `flag` is true on any rank."""
    ranks = _current.get()
    return bool(flag) if ranks is None else bool(ranks.reduce_(torch.tensor(float(flag)), "MAX"))


# --- batches ----------------------------------------------------------------------------------------------------------


def n_rows(n_own: int) -> int:
    """Return the rows of the whole batch, of which this rank has `n_own`."""
    batch = _batch()
    return n_own if batch is None else batch.n_rows


def share(n_own: int) -> float:
    """Return the part of the batch's rows that this rank has."""
    batch = _batch()
    return 1.0 if batch is None else n_own / batch.n_rows


def counted_once(value: Tensor, n_own: int) -> Tensor:
    """Return the part of a `value` of the whole batch that this rank counts, so that sums over ranks have it once."""
    return value if _batch() is None else value * share(n_own)


def all_mean(mean: Tensor, n_own: int) -> Tensor:
    """Return the mean over the rows of the batch from the `mean` over the `n_own` rows of this rank."""
    if _batch() is None:
        return mean
    # The mean over no rows is not a number; it stays in the graph, whose sums other ranks wait for.
    return all_sum(mean * share(n_own) if n_own else mean.nan_to_num() * 0)


def own_part(values: Tensor, dim: int) -> Tensor:
    """Return what belongs to the rows of this rank, of `values` that go along `dim` with those of the batch."""
    batch = _batch()
    return values if batch is None else values.index_select(dim, batch.positions.to(values.device))


def whole(values: Tensor) -> Tensor:
    """Return the values of all rows of the batch, in its order, from those of this rank; rows are the first axis."""
    batch = _batch()
    if batch is None:
        return values
    everywhere = values.new_zeros(batch.n_rows, *values.shape[1:])
    return all_sum(everywhere.index_copy_(0, batch.positions.to(values.device), values))


def pick(values: Tensor, numbers: Tensor) -> Tensor:
    """Return the rows `numbers` of the batch, from the `values` of the rows of this rank."""
    batch = _batch()
    if batch is None:
        return values.index_select(0, numbers)
    place = torch.full((batch.n_rows,), -1, device=numbers.device)
    place[batch.positions.to(numbers.device)] = torch.arange(len(values), device=numbers.device)
    return pick_held(lambda places: values.index_select(0, places), place[numbers])


def pick_held(take: Callable[[Tensor], Tensor], places: Tensor) -> Tensor:
    """Return rows that ranks hold between them: this one those that `take` returns for `places` that are not -1."""
    held = places >= 0
    own = take(places[held])
    rows = own.new_zeros(len(places), *own.shape[1:])
    rows[held] = own
    return all_sum(rows)


def _batch() -> Batch | None:
    ranks = _current.get()
    return None if ranks is None else ranks.batch


# --- agreement --------------------------------------------------------------------------------------------------------


def from_first(make: Callable[[], Result]) -> Result:
    """Return what `make` returns on the first rank, which alone calls it; its error is raised on all."""
    ranks = _current.get()
    if ranks is None:
        return make()
    made = agreed(lambda: make() if ranks.index == 0 else None)
    return ranks.from_first(made)  # type: ignore[return-value]


def agreed(make: Callable[[], Result]) -> Result:
    """Return what `make` returns on this rank, when it has ended on all.

    Raises
    ------
    BaseException
        Its own, where it raises one.
    RankError
        If it raises one on another rank; the message holds it.
    """
    ranks = _current.get()
    if ranks is None:
        return make()
    result, error = None, None
    try:
        result = make()
    except BaseException as own:
        error = own
    texts = ranks.gather(None if error is None else f"{type(error).__name__}: {error}")
    if error is not None:
        raise error
    raise_failures(texts)
    return result  # type: ignore[return-value]


def raise_failures(texts: list[str | None]) -> None:
    """Raise a RankError that tells what failed on other ranks, if anything did."""
    failed = [(index, text) for index, text in enumerate(texts) if text is not None]
    if failed:
        index, text = failed[0]
        raise RankError(f"Rank {index} failed, and {len(failed)} of {len(texts)} did: {text}")


def require_equal(facts: Mapping[str, str], what: str) -> None:
    """Raise a ValueError on all ranks where `facts` differ between them.

    Parameters
    ----------
    facts : mapping of str
        Texts by name.
    what : str
        Whose they are, in the message.
    """
    ranks = _current.get()
    if ranks is None:
        return
    gathered = ranks.gather(dict(facts))
    first = gathered[0]
    for index, other in enumerate(gathered):
        differing = [
            f"{name} ({first.get(name, 'absent')} on rank 0, {other.get(name, 'absent')} on rank {index})"
            for name in {**first, **other}
            if first.get(name) != other.get(name)
        ]
        if differing:
            raise ValueError(
                f"{what} is fitted by {ranks.size} ranks together, which have to agree, but they differ in "
                f"{'; '.join(differing)}. Make these the same on all ranks."
            )
