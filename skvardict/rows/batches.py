"""Where batches begin and end.

Every epoch has ``ceil(n / batch_size)`` batches whose sizes differ by at most one: the variance hinge has
curvature ``2 beta / (n - 1)``, so that a small batch left over at the end would be a different problem.
"""

from collections.abc import Iterator
from itertools import pairwise


def batch_slices(n_samples: int, batch_size: int) -> Iterator[slice]:
    """Yield the positions of batches that are as equal as can be."""
    n_batches = _n_batches(n_samples, batch_size)
    bounds = [round(n_samples * index / n_batches) for index in range(n_batches + 1)]
    return (slice(start, stop) for start, stop in pairwise(bounds))


def mean_batch_size(n_samples: int, batch_size: int) -> float:
    """Return the mean number of rows in the batches of :func:`batch_slices`."""
    return n_samples / _n_batches(n_samples, batch_size)


def _n_batches(n_samples: int, batch_size: int) -> int:
    return max(1, -(-n_samples // batch_size))
