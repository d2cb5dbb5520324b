"""Modes of torch modules."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(*modules: nn.Module | None) -> Iterator[None]:
    """Put modules into evaluation mode inside the block: rows are independent then, and nothing is drawn or tracked."""
    modes = [(part, part.training) for module in modules if module is not None for part in module.modules()]
    _set_modes((part, False) for part, _ in modes)
    try:
        yield
    finally:
        _set_modes(modes)


def _set_modes(modes: Iterable[tuple[nn.Module, bool]]) -> None:
    for part, training in modes:
        # Past the setter of modules, which looks for parameters and costs more than a small product.
        vars(part)["training"] = training
