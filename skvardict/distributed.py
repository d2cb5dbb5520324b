"""Fits by several processes together, on one machine or many: data parallelism on ``torch.distributed``."""

from contextlib import AbstractContextManager
from typing import Any

from skvardict._utils.ranks import RankError, choose

__all__ = ["RankError", "data_parallel"]


def data_parallel(rows: str = "same", group: Any = None) -> AbstractContextManager[None]:
    """Let the processes of a group fit every model inside the block together.

    `fit`, `fit_stream` and `partial_fit` are called in all processes alike. Each computes with its part of the rows of
    every batch; what a batch says as a whole (standard deviations of the hinge, gradients, statistics of codes, sums of
    the history, when to stop) is summed over processes, so that the fitted model, which all of them then have, is that
    of one process with all rows, up to rounding. All other methods work in each process on its own.

    Parameters
    ----------
    rows : {"same", "shard"}
        What `X` (and `X_val`, or the chunks of a stream) is: the same rows in every process, a memory map for instance,
        or in each process rows of its own that follow those of the process before. In both cases `batch_size` counts
        the rows of all processes. Shards of an array give the result of the array that they make up. Shards of a stream
        are shuffled each in a buffer of their own, and every batch takes an equal number of rows from each.
    group : ProcessGroup, optional
        None is all processes, of the group that ``torch.distributed.init_process_group`` has started; or which
        ``torchrun`` has prepared: it is then started, and ended with the block. In a single process nothing changes.

    Returns
    -------
    context manager
        Entered by all processes of the group. Outside of it fits are those of one process, also where there is a group.

    Raises
    ------
    ValueError
        If `rows` is neither, or this process is not in `group`. In fits, in all processes: if their rows differ in
        features or dtype, or their parameters, seeds or versions.
    RankError
        In fits: if another process fails or is lost, at the latest after the time that the group waits. The last whole
        epoch is kept, as after any error, and a `checkpoint` of it is continued by as many processes or others.

    Notes
    -----
    The first process writes checkpoints, prints and warns. ``random_state=None`` takes the seed of the first. Callbacks
    are called in every process, and each may end the fit. An error that others cannot know of, out of memory in a step
    for instance, has to end its process: they wait for it until then. Layers that look at a batch (batch normalisation)
    or draw by themselves (dropout) in networks of the user see the rows of their process.

    Examples
    --------
    The same script by ``python script.py``, or by ``torchrun --nproc_per_node=4 script.py``:

    >>> import numpy as np
    >>> from skvardict import VarianceDictionaryLearning
    >>> from skvardict.distributed import data_parallel
    >>> X = np.random.default_rng(0).standard_normal((200, 8)).astype(np.float32)
    >>> with data_parallel(rows="same"):
    ...     model = VarianceDictionaryLearning(4, max_iter=2, random_state=0).fit(X)
    >>> model.components_.shape
    (4, 8)
    """
    if rows not in ("same", "shard"):
        raise ValueError(
            f"data_parallel: rows={rows!r} is neither 'same' (every process has all rows) nor 'shard' (each has rows "
            "of its own)."
        )
    return choose(group, rows)
