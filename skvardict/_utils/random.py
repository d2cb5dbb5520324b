"""`random_state` becomes one seed, and the seed lives in a private generator."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from threading import RLock

import numpy as np
import torch
from sklearn.utils import check_random_state

_global_generator_lock = RLock()  # a builder may build models of its own


def _renew_lock() -> None:
    global _global_generator_lock
    _global_generator_lock = RLock()


if hasattr(os, "register_at_fork"):  # a lock that another thread held while forking would never open again
    os.register_at_fork(after_in_child=_renew_lock)


def draw_seed(random_state) -> int:
    """Return one non-negative integer seed drawn from `random_state` (int, RandomState or None)."""
    return int(check_random_state(random_state).randint(np.iinfo(np.int32).max))


def make_generator(seed: int, device: torch.device | str = "cpu") -> torch.Generator:
    """Return a private generator; the global one is never touched."""
    return torch.Generator(device=device).manual_seed(seed)


def generator_for(device: torch.device, generator: torch.Generator) -> torch.Generator:
    """Return `generator` where it lives on `device`, else a new one there, seeded from it."""
    if generator.device == device:
        return generator
    return make_generator(int(torch.randint(2**31 - 1, (), generator=generator)), device)


@contextmanager
def private_global_generator(generator: torch.Generator) -> Iterator[None]:
    """Seed torch's global generators from `generator` inside the block, and restore their states afterwards.

    Those of the CPU and, where CUDA is in use, of its devices. Only for code that cannot take a generator (the
    constructors of torch's own layers, layers like dropout). :func:`torch.manual_seed` would seed all devices for good,
    and renders the calling stack for each backend that is not in use, which reads source files.
    """
    seed = int(torch.randint(2**31 - 1, (), generator=generator, device=generator.device))
    devices = range(torch.cuda.device_count()) if torch.cuda.is_initialized() else ()
    with _global_generator_lock, torch.random.fork_rng(devices=devices):
        for lent in (torch.default_generator, *(torch.cuda.default_generators[index] for index in devices)):
            lent.manual_seed(seed)
        yield
