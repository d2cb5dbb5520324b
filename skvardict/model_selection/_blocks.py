"""Coders trained together though their rows come from several arrays."""

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from scipy.sparse import issparse
from torch import Tensor

from skvardict._sklearn import keep_feature_names
from skvardict.estimators._together import Member, fit_together

_MOST_BYTES = 2**30  # of rows that are copied into one array


@dataclass(frozen=True)
class BlockMember:
    """A coder and its rows of one of several blocks.

    Parameters
    ----------
    coder : BaseCoder
        Fitted in place.
    block : key
        Name of the block.
    rows : ndarray of int or None
        Its rows of the block; None: all of them.
    """

    coder: Any
    block: Hashable
    rows: np.ndarray | None = None


def fit_on_blocks(
    members: Sequence[BlockMember], blocks: Mapping[Any, Any], *, max_bytes: int | None = None
) -> list[Exception | None]:
    """Fit every coder on its rows, as ``coder.fit(blocks[block][rows])`` would.

    Blocks of the same width and type are put into one array, as many as fit into `max_bytes` (1 GiB by default), so
    that the coders of several folds are one call of :func:`fit_together`.

    Parameters
    ----------
    members : sequence of BlockMember
    blocks : mapping of key to array-like or Tensor of shape (n_rows, n_features)
    max_bytes : int or None
        Memory that the coders trained at the same time may take.

    Returns
    -------
    errors : list of Exception or None
        In the order of `members`.
    """
    arrays = {name: _as_block(blocks[name]) for name in dict.fromkeys(member.block for member in members)}
    errors: dict[int, Exception | None] = {}
    for names in _bundles(arrays, _MOST_BYTES if max_bytes is None else max_bytes):
        indices = [index for index, member in enumerate(members) if member.block in names]
        offsets = dict(zip(names, np.cumsum([0, *(arrays[name].shape[0] for name in names)])))
        chosen = [_moved(members[index], offsets, arrays, alone=len(names) == 1) for index in indices]
        errors.update(zip(indices, fit_together(chosen, _join([arrays[name] for name in names]), max_bytes=max_bytes)))
    for index, member in enumerate(members):
        if errors[index] is None:
            keep_feature_names(member.coder, blocks[member.block])
    return [errors[index] for index in range(len(members))]


def _moved(member: BlockMember, offsets: Mapping, arrays: Mapping, *, alone: bool) -> Member:
    """Return the member with its rows counted in the joined array."""
    if alone:
        return Member(member.coder, member.rows)
    rows = np.arange(arrays[member.block].shape[0]) if member.rows is None else np.asarray(member.rows)
    return Member(member.coder, rows + offsets[member.block])


def _bundles(arrays: Mapping[Any, Any], most_bytes: int) -> list[list]:
    """Return names of blocks that go together: of one kind, and not too large."""
    bundles: dict[Any, list[list]] = {}
    sizes: dict[Any, int] = {}
    for name, array in arrays.items():
        kind = _kind(array)
        of_kind = bundles.setdefault(kind, [])
        if not of_kind or sizes[kind] + _n_bytes(array) > most_bytes:
            of_kind.append([])
            sizes[kind] = 0
        of_kind[-1].append(name)
        sizes[kind] += _n_bytes(array)
    return [bundle for of_kind in bundles.values() for bundle in of_kind]


def _n_bytes(array: Any) -> int:
    return 0 if issparse(array) else array.nbytes


def _kind(array: Any) -> Hashable:
    """Return what blocks that can be joined agree in."""
    return type(array), id(array) if issparse(array) else array.shape[1:], array.dtype, getattr(array, "device", None)


def _join(arrays: list) -> Any:
    if len(arrays) == 1:
        return arrays[0]
    return torch.cat(arrays) if isinstance(arrays[0], Tensor) else np.concatenate(arrays)


def _as_block(values: Any) -> Any:
    """Return tensors and sparse matrices as they are (coders refuse the latter), all else as an array."""
    return values if isinstance(values, Tensor) or issparse(values) else np.asarray(values)
