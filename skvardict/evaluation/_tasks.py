"""Where the tasks of curves run, and how their data get there."""

import warnings
from typing import Any

from joblib.parallel import get_active_backend


def run_elsewhere() -> bool:
    """Return whether joblib sends tasks to a cluster, so that each is to fit what it measures."""
    return type(_backend()).__module__ != "joblib._parallel_backends"


def sent_once(*data: Any) -> tuple[Any, ...]:
    """Return what tasks are to be given for `data`: on a cluster of dask what stands for it, else it.

    Data are results of tasks there: a worker that is lost with them does not take them away, as it does what was
    scattered, since the scheduler can have them made again.
    """
    client = getattr(_backend(), "client", None)
    if client is None:
        return data
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sending large graph")  # it is sent once
        return tuple(client.submit(_given, value, pure=False) for value in data)


def _given(value: Any) -> Any:
    return value


def _backend() -> Any:
    return get_active_backend()[0]
