"""What a state that was saved may hold: every number in it is looked at before it is used.

A checksum tells of damage, not of intent. What passes here is the state that some fit could have left.
"""

from collections.abc import Mapping
from math import inf, isnan
from typing import Any

import numpy as np
import torch

from skvardict.training.history import History, is_table

Weights = Mapping[str, tuple[tuple[int, ...], str]]  # shape and kind ("f": floating point, "i": whole) by name

_MOST_STEPS = 2**40
_MOST = 2**63  # beyond which whole numbers have no array
_COUNTS = ("n_dead", "n_dead_encoder", "n_rows")
_NOT_NEGATIVE = ("bounds", "step", "exp_avg_sq", "idle", "rows")
_MAY_OVERFLOW = ("exp_avg_sq",)
# Of a generator of torch on the CPU: seed, numbers left before new ones are made, flags, place of the next, numbers.
_GENERATOR = np.dtype([("seed", "<u8"), ("left", "<i4"), ("seeded", "<i4"), ("next", "<u8"), ("numbers", "<u8", 624)])
_TEXTS = ("host", "process", "since", "run")


def find_problem_of_weights(arrays: Mapping[str, Any], wanted: Weights) -> str | None:
    """Return in what weights differ from those of the model that they are for; None: in nothing."""
    for name in sorted(wanted.keys() | arrays.keys()):
        shape, kind = wanted.get(name, (None, "f"))
        array: Any = arrays.get(name)
        has = array.shape if isinstance(array, np.ndarray) else None
        if has is None or has != shape:
            return f"{name[:80]} has shape {has}, but the parameters describe a model with {shape}"
        if array.dtype.kind != kind or not np.isfinite(array).all():
            return f"{name[:80]} holds other things than finite numbers"
    return None


def find_problem_of_state(state: Mapping[str, Any], history: Any) -> str | None:
    """Return what no training leaves behind in the arrays of a session and its history, whatever the model; or None."""
    if not all(isinstance(array, np.ndarray) and array.dtype.kind in "biuf" for array in state.values()):
        return "the training state holds other things than numbers"
    counters = state.get("counters")
    if counters is None or counters.dtype != np.int64 or counters.shape != (2,):
        return "the training state has no counters"
    n_epochs, n_steps = counters.tolist()
    if not 0 <= n_epochs <= n_steps < _MOST_STEPS:
        return f"the training state counts {n_epochs} epochs and {n_steps} steps"
    problem = find_problem_of_generator(state.get("generator"))
    for name, array in state.items():
        problem = problem or _find_problem_of_numbers(name, array)
    return problem or _find_problem_of_history(history, n_epochs)


def find_problem_of_generator(state: Any) -> str | None:
    """Return why `state` is not one that a generator of torch on the CPU can be in, or None.

    Torch itself accepts a place behind the end of its numbers, and numbers that are all zero and stay so.
    """
    size = torch.Generator().get_state().shape
    if not isinstance(state, np.ndarray) or state.dtype != np.uint8 or state.shape != size:
        return "the training state has no generator"
    fields = np.frombuffer(state.tobytes(), _GENERATOR, count=1)[0]
    left, place = int(fields["left"]), int(fields["next"])
    in_order = (left, place) == (1, 0) or (1 <= left <= 624 and left + place == 625)
    has_numbers = bool((fields["numbers"] & np.uint64(2**32 - 1)).any())
    try:
        torch.Generator().set_state(torch.from_numpy(state.copy()))
    except RuntimeError as error:
        return f"the training state has a generator that torch refuses ({error})"
    if not in_order or not has_numbers or fields["seed"] >= 2**31:
        return "the training state has a generator in a state that it cannot be in"
    return None


def find_problem_of_run(saved: Any) -> str | None:
    """Return what is wrong with the contents of a checkpoint, whatever the model, or None."""
    if not isinstance(saved, dict) or not all(isinstance(saved.get(name), kind) for name, kind in _FIELDS.items()):
        return "fields are missing or of another type"
    for name, (least, most) in _RANGES.items():
        if type(saved.get(name)) is not int or not least <= saved[name] <= most:
            return f"{name} is {str(saved.get(name))[:80]}"
    writer = saved.get("writer", dict.fromkeys(_TEXTS, ""))
    if not isinstance(writer, dict) or not all(isinstance(writer.get(name), str) for name in _TEXTS):
        return "it does not say who wrote it"
    if not all(isinstance(text, str) for text in saved["identity"].values()):
        return "it does not say what it belongs to"
    return (
        find_problem_of_state(saved["session"], saved["history"])
        or _find_problem_of_patience(saved["patience"], saved["n_epochs"])
        or _find_problem_of_counts(saved)
    )


_FIELDS = {
    "identity": dict,
    "session": dict,
    "history": dict,
    "patience": list,
    "best": dict,
    "stopped_early": bool,
    "is_finished": bool,
}
_RANGES = {
    "n_threads": (1, 2**20),
    "seed": (0, 2**31),
    "n_epochs": (1, _MOST_STEPS),
    "best_epoch": (0, _MOST_STEPS),
    "n_new_epochs": (1, _MOST_STEPS),
    "max_epochs": (1, _MOST),
}


def _find_problem_of_counts(saved: Mapping[str, Any]) -> str | None:
    n_epochs, n_new, most = saved["n_epochs"], saved["n_new_epochs"], saved["max_epochs"]
    goes_on = not saved["is_finished"]
    if n_epochs != saved["session"]["counters"][0] or saved["best_epoch"] > n_epochs or n_new > min(n_epochs, most):
        return f"its epochs do not fit together ({n_epochs}, {n_new} of them new, the best {saved['best_epoch']})"
    if goes_on and (saved["stopped_early"] or n_new == most):
        return "it has ended, and has not"
    return None


def _find_problem_of_patience(patience: list, n_epochs: int) -> str | None:
    is_valid = (
        len(patience) == 3
        and all(type(energy) is float and -inf < energy for energy in patience[:2])  # NaN is not
        and patience[0] <= patience[1]
        and type(patience[2]) is int
        and 0 <= patience[2] <= n_epochs
    )
    return None if is_valid else "its patience is none"


def _find_problem_of_numbers(name: str, array: np.ndarray) -> str | None:
    part, own = name.partition(".")[0], name.rpartition(".")[2]
    if array.dtype.kind != "f":
        return f"{name[:80]} holds whole numbers" if part == "optimizer" else None
    may_overflow = part == "optimizer" and own in _MAY_OVERFLOW
    if not (~np.isnan(array) if may_overflow else np.isfinite(array)).all():
        return f"{name[:80]} holds other things than finite numbers"
    is_negative = part != "params" and own in _NOT_NEGATIVE and (array < 0).any()
    return f"{name[:80]} holds negative numbers" if is_negative else None


def _find_problem_of_history(history: History, n_epochs: int) -> str | None:
    if not is_table(history) or {len(column) for column in history.values()} - {n_epochs}:
        return "history_ is not a table of numbers, one for every epoch"
    if n_epochs == 0:
        return None
    if history.get("epoch") != list(range(1, n_epochs + 1)) or not np.isfinite(history.get("energy", inf)).all():
        return "history_ does not have the numbers and energies of its epochs"
    if "n_dead" not in history:
        return "history_ does not have the numbers of dead components"
    for name in set(_COUNTS) & history.keys():
        column = history[name]
        if isnan(column[-1]) or not all(isnan(count) or 0 <= count < _MOST for count in column):
            return f"history_ has a {name} that is no number of anything"
    return None
