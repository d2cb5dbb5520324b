"""A run on disk: written after epochs, and continued from there as if nothing had happened.

A checkpoint holds everything that changes in a run: parameters, optimiser moments, generator (and with it the order of
the rows to come), counters, history, the best state and the patience that is left. Schedules follow from the counters.
It also holds what it belongs to, its `identity`: versions, parameters, digests of the data. Any other is refused.
"""

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from skvardict.storage.files import DamagedFileError, read_file, write_file
from skvardict.storage.packing import Arrays, pack, unpack
from skvardict.training.history import History, Patience, is_column, is_table

if TYPE_CHECKING:
    from skvardict.training.loop import Outcome
    from skvardict.training.session import TrainingSession

FORMAT = 2
_FIELDS = {
    "identity": dict,
    "n_threads": int,
    "seed": int,
    "n_epochs": int,
    "session": dict,
    "history": dict,
    "patience": list,
    "best": dict,
    "best_epoch": int,
    "n_new_epochs": int,
    "max_epochs": int,
    "stopped_early": bool,
    "is_finished": bool,
}


_LONGER = (
    " Rates and weights may follow schedules over max_iter, so that a longer fit is another one from its first step. "
    "To add epochs to a finished fit, set warm_start=True and their number as max_iter, and call fit with another path."
)


class CheckpointMismatchError(ValueError):
    """A checkpoint belongs to other data, parameters or versions."""


class Checkpoint:
    """The checkpoint of one run.

    Parameters
    ----------
    path : path
        The file; the one before it is kept under the same name with ``.previous`` at the end.
    every : int
        Epochs between two writes; the end of a run is always written.
    identity : dict of str
        What the run depends on. All of it must agree with what the file says.
    seed : int
        Seed of a run that begins; a resumed one has that of the file.
    max_epochs : int
        Epochs of the run; a finished one that had fewer goes on where its `identity` does not name their number.

    Raises
    ------
    FileNotFoundError
        If the folder of `path` does not exist.
    CheckpointMismatchError
        If the file belongs to another run.
    DamagedFileError
        If neither the file nor the one before it can be read.
    """

    def __init__(self, path: str | os.PathLike, every: int, identity: Mapping[str, str], seed: int, max_epochs: int):
        self.path = Path(path)
        self.previous = self.path.with_name(self.path.name + ".previous")
        self.every = every
        self.identity = dict(identity)
        self.max_epochs = max_epochs
        if not self.path.absolute().parent.is_dir():
            raise FileNotFoundError(f"checkpoint={str(path)!r}: the folder does not exist. Create it first.")
        self._saved = self._read()
        self.seed = seed if self._saved is None else self._saved["seed"]
        self.last_epoch = self.resumed_epoch = 0 if self._saved is None else self._saved["n_epochs"]
        self._has_warned = False

    def restore(self, session: "TrainingSession", patience: Patience, outcome: "Outcome") -> bool:
        """Set everything to the state of the file, if there is one; return whether there was."""
        if self._saved is None:
            return False
        saved, self._saved = self._saved, None
        session.load_arrays(saved["session"])
        session.history = saved["history"]
        patience.best, patience.reference, patience.n_stale = saved["patience"]
        if {name: array.shape for name, array in saved["best"].items()} != {
            name: tuple(tensor.shape) for name, tensor in outcome.params.items()
        }:
            raise ValueError(f"{self.path}: the best state does not fit to the model. Delete the file to start anew.")
        outcome.params = {
            name: torch.from_numpy(array).to(outcome.params[name]) for name, array in saved["best"].items()
        }
        for name in ("best_epoch", "n_new_epochs", "stopped_early", "is_finished"):
            setattr(outcome, name, saved[name])
        was_cut = outcome.n_new_epochs == saved["max_epochs"] and not outcome.stopped_early
        outcome.is_finished = outcome.is_finished and not (was_cut and self.max_epochs > saved["max_epochs"])
        outcome.resumed_epoch = self.resumed_epoch
        return True

    def is_due(self, outcome: "Outcome") -> bool:
        """Return whether the run is to be saved now."""
        return outcome.is_finished or outcome.n_new_epochs % self.every == 0

    def save(self, arrays: Arrays, history: History, patience: Patience, outcome: "Outcome") -> None:
        """Write the state at the end of an epoch; if that fails, warn (once) and leave the last file as it is."""
        n_epochs = int(arrays["counters"][0])
        state = {
            "identity": self.identity,
            "n_threads": torch.get_num_threads(),
            "seed": self.seed,
            "n_epochs": n_epochs,
            "session": arrays,
            "history": history,
            "patience": [patience.best, patience.reference, patience.n_stale],
            "best": {name: _to_array(tensor) for name, tensor in outcome.params.items()},
            "best_epoch": outcome.best_epoch,
            "n_new_epochs": outcome.n_new_epochs,
            "max_epochs": self.max_epochs,
            "stopped_early": outcome.stopped_early,
            "is_finished": outcome.is_finished,
        }
        packed: Arrays = {}
        content = {"kind": "checkpoint", "format": FORMAT, "state": pack(state, "state", packed)}
        try:
            write_file(self.path, packed, content, self.previous)
            self.last_epoch = n_epochs
        except OSError as error:
            self._warn_about_writing(error)

    def _warn_about_writing(self, error: OSError) -> None:
        if self._has_warned:
            return
        self._has_warned = True
        kept = f"the one of epoch {self.last_epoch} is intact" if self.last_epoch else "there is none yet"
        warnings.warn(
            f"The checkpoint {self.path} could not be written ({error.strerror or error}); {kept}. Training goes on "
            "and tries again at the next one. Free some space, or give checkpoint= another place.",
            UserWarning,
            stacklevel=2,
        )

    def _read(self) -> dict[str, Any] | None:
        try:
            return self._parse(self.path)
        except FileNotFoundError:
            # A write that was cut off between its two renames leaves the previous file alone.
            return self._parse(self.previous) if self.previous.exists() else None
        except DamagedFileError as error:
            if not self.previous.exists():
                raise DamagedFileError(f"{error} There is no previous one. Delete the file to start anew.") from error
            saved = self._parse(self.previous)
            warnings.warn(
                f"{error} The previous checkpoint is used, of epoch {saved['n_epochs']}.", UserWarning, stacklevel=2
            )
            return saved

    def _parse(self, path: Path) -> dict[str, Any]:
        arrays, content = read_file(path)
        if not isinstance(content, dict) or content.get("kind") != "checkpoint":
            raise CheckpointMismatchError(f"{path} is not a checkpoint. Give checkpoint= a path of its own.")
        if content.get("format") != FORMAT:
            raise CheckpointMismatchError(
                f"{path} was written by skvardict {_writer(content)} in the checkpoint format "
                f"{str(content.get('format'))[:80]}, but this version reads {FORMAT}; before format 2 estimators were "
                "not assembled from parts. Continue it with that version, or delete it to start anew."
            )
        try:
            saved = unpack(content.get("state"), arrays)
        except ValueError as error:
            raise DamagedFileError(f"{path} does not hold what a checkpoint holds: {error}.") from error
        if not _is_state(saved):
            raise DamagedFileError(f"{path} does not hold what a checkpoint holds.")
        check_identity(path, saved["identity"], self.identity)
        if saved["n_new_epochs"] > self.max_epochs:
            raise CheckpointMismatchError(
                f"{path} holds a run of {saved['n_new_epochs']} epochs, but max_iter={self.max_epochs}. Ask for as "
                "many or more, give checkpoint= another path, or delete it to start anew."
            )
        if saved["n_threads"] != torch.get_num_threads():
            warnings.warn(
                f"{path} was written with {saved['n_threads']} torch threads, but there are {torch.get_num_threads()} "
                "now: sums round differently, and the result will not be bitwise that of an uninterrupted fit. Set "
                "OMP_NUM_THREADS to have the same.",
                UserWarning,
                stacklevel=2,
            )
        return saved


def check_identity(path: Path, saved: Mapping[str, str], now: Mapping[str, str], what: str = "fit") -> None:
    """Raise a CheckpointMismatchError that names all in which two identities differ.

    Parameters
    ----------
    path : Path
        What was saved.
    saved, now : mapping of str
    what : str
        What the identity is of.
    """
    differing = [
        f"{name}: {saved.get(name, 'absent')} in the checkpoint, {now.get(name, 'absent')} now"
        for name in {**saved, **now}
        if saved.get(name) != now.get(name)
    ]
    if differing:
        longer = _LONGER if [text.partition(":")[0] for text in differing] == ["max_iter"] else ""
        raise CheckpointMismatchError(
            f"{path} belongs to another {what}. What differs: {'; '.join(differing)}. Restore these, give checkpoint= "
            f"another path, or delete it to start anew.{longer}"
        )


def _writer(content: dict[str, Any]) -> str:
    """Return the version that wrote a checkpoint of any format."""
    place: Any = content
    for name in ("state", "dict", "identity", "dict", "skvardict"):
        place = place.get(name) if isinstance(place, dict) else None
    return place[:80] if isinstance(place, str) else "of an unknown version"


def _is_state(saved: Any) -> bool:
    """Return whether `saved` has the fields of a checkpoint, of the right types."""
    return (
        isinstance(saved, dict)
        and all(isinstance(saved.get(name), kind) for name, kind in _FIELDS.items())
        and all(isinstance(array, np.ndarray) for array in [*saved["session"].values(), *saved["best"].values()])
        and all(isinstance(text, str) for text in saved["identity"].values())
        and is_table(saved["history"])
        and is_column(saved["patience"])
        and len(saved["patience"]) == 3
    )


def _to_array(tensor: Tensor):
    return tensor.detach().cpu().numpy()
