"""A run on disk: written after epochs, and continued from there as if nothing had happened.

A checkpoint holds everything that changes in a run: parameters, optimiser moments, generator (and with it the order of
the rows to come), counters, history, the best state and the patience that is left. Schedules follow from the counters.
It also holds what it belongs to, its `identity`: versions, parameters, digests of the data. Any other is refused.
"""

import os
import platform
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import torch
from torch import Tensor

from skvardict.storage.files import DamagedFileError, read_file, write_file
from skvardict.storage.packing import Arrays, pack, unpack
from skvardict.storage.writing import remove_left_over
from skvardict.training.history import History, Patience
from skvardict.training.saved import find_problem_of_run, find_problem_of_weights

if TYPE_CHECKING:
    from skvardict.training.loop import Outcome
    from skvardict.training.session import TrainingSession

FORMAT = 2

_LONGER = (
    " Rates and weights may follow schedules over max_iter, so that a longer fit is another one from its first step. "
    "To add epochs to a finished fit, set warm_start=True and their number as max_iter, and call fit with another path."
)


_ANEW = " Delete the file to start anew."


class CheckpointMismatchError(ValueError):
    """A checkpoint belongs to other data, parameters or versions."""


class _IsBehindError(Exception):
    """Another process has the same run as far as this one, or farther."""


class Checkpoint:
    """The checkpoint of one run.

    Nothing is locked: a process that was killed, on whatever machine, leaves nothing behind that its successor would
    have to wait for. What stands at `path` is looked at instead, after every epoch. The first file is only written
    where there is none, in one step, and one of another run is never replaced: whoever comes second is told. Two
    processes that make the same run may both write; one that is behind leaves the other's file alone.

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
        if self.path.exists() and not self.path.is_file():
            raise DamagedFileError(f"checkpoint={str(path)!r} is no file. Give checkpoint= a path of its own.")
        self.previous = self.path.with_name(self.path.name + ".previous")
        self.every = every
        self.identity = dict(identity)
        self.max_epochs = max_epochs
        if not self.path.absolute().parent.is_dir():
            raise FileNotFoundError(f"checkpoint={str(path)!r}: the folder does not exist. Create it first.")
        remove_left_over(self.path.parent)  # a run that has ended is read only
        self._known = _mark(self.path)  # of the file, as it was looked at or written last
        self._is_damaged = False  # it is not what a previous one could be, then
        self._said: set[str] = set()
        self._saved = self._read()
        self.seed = seed if self._saved is None else self._saved["seed"]
        self.last_epoch = self.resumed_epoch = 0 if self._saved is None else self._saved["n_epochs"]
        self._writer = _describe_this_process()
        self._keeps_previous = self._may_replace_previous()

    def restore(self, session: "TrainingSession", patience: Patience, outcome: "Outcome") -> bool:
        """Set everything to the state of the file, if there is one; return whether there was.

        Raises
        ------
        DamagedFileError
            If the file is of another model.
        """
        if self._saved is None:
            return False
        saved, self._saved = self._saved, None
        wanted = {
            name: (tuple(tensor.shape), "f" if tensor.is_floating_point() else "i")
            for name, tensor in outcome.params.items()
        }
        problem = find_problem_of_weights(saved["best"], wanted)
        if problem is not None:
            raise DamagedFileError(f"{self.path}: the best state does not fit to the model: {problem}.{_ANEW}")
        try:
            session.load_arrays(saved["session"])
        except ValueError as error:
            raise DamagedFileError(f"{self.path}: {error}{_ANEW}") from error
        session.history = saved["history"]
        patience.best, patience.reference, patience.n_stale = saved["patience"]
        outcome.params = {
            name: torch.from_numpy(array).to(outcome.params[name]) for name, array in saved["best"].items()
        }
        for name in ("best_epoch", "n_new_epochs", "stopped_early", "is_finished"):
            setattr(outcome, name, saved[name])
        was_cut = outcome.n_new_epochs == saved["max_epochs"] and not outcome.stopped_early
        outcome.is_finished = outcome.is_finished and not (was_cut and self.max_epochs > saved["max_epochs"])
        outcome.resumed_epoch = self.resumed_epoch
        return True

    def end_epoch(self, arrays: Arrays, history: History, patience: Patience, outcome: "Outcome") -> None:
        """Look whether the file is still that of this run, and write the state of the epoch where it is due.

        Where it cannot be written, warn (once) and leave the last file as it is.

        Raises
        ------
        CheckpointMismatchError, DamagedFileError
            If another fit, or something else, has put its file there since; that file stays.
        """
        n_epochs, is_due = int(arrays["counters"][0]), outcome.is_finished or outcome.n_new_epochs % self.every == 0
        try:
            self._look(n_epochs, outcome)
            if is_due:
                self._write(self._state(arrays, history, patience, outcome), outcome)
        except _IsBehindError:
            pass
        except OSError as error:
            kept = f"the one of epoch {self.last_epoch} is intact" if self.last_epoch else "there is none yet"
            self._warn(
                "writing",
                f"The checkpoint {self.path} could not be written ({error.strerror or error}); {kept}. Training goes "
                "on and tries again at the next one. Free some space, or give checkpoint= another place.",
            )

    def _write(self, state: dict[str, Any], outcome: "Outcome") -> None:
        packed: Arrays = {}
        content = {"kind": "checkpoint", "format": FORMAT, "state": pack(state, "state", packed)}
        previous = self.previous if self._keeps_previous and not self._is_damaged else None

        def write(*, new: bool) -> os.stat_result:
            look = partial(self._look, state["n_epochs"], outcome)
            return write_file(self.path, packed, content, new=new, previous=previous, check=None if new else look)

        try:
            status = write(new=self._known is None)
        except FileExistsError:  # of another process, in the last moment
            status = write(new=False)
        self.last_epoch, self._known, self._is_damaged = state["n_epochs"], _mark_of(status), False

    def _state(self, arrays: Arrays, history: History, patience: Patience, outcome: "Outcome") -> dict[str, Any]:
        return {
            "identity": self.identity,
            "writer": self._writer,
            "n_threads": torch.get_num_threads(),
            "seed": self.seed,
            "n_epochs": int(arrays["counters"][0]),
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

    def _look(self, n_epochs: int, outcome: "Outcome") -> None:
        """Look whether the file is as it was left.

        Raises
        ------
        CheckpointMismatchError, DamagedFileError
            If it is of another fit, or none.
        _IsBehindError
            If another process has the same run as far as this one or farther.
        """
        now = _mark(self.path)
        if now is None or now == self._known:
            self._known = now
            return
        try:
            saved = _parse(self.path)
        except FileNotFoundError:  # it has just been removed
            self._known = None
            return
        if saved["writer"] != self._writer:  # on network file systems times may be set late
            now_is, writer = {**self.identity, "seed": str(self.seed)}, saved["writer"]
            check_identity(self.path, {**saved["identity"], "seed": str(saved["seed"])}, now_is, writer=writer)
            self._warn(
                "same",
                f"{self.path} is written by another process, too, which makes the same fit: {_said_of(writer)}. Both "
                "go on; one of them is enough.",
            )
            if (saved["n_epochs"], saved["is_finished"]) >= (n_epochs, outcome.is_finished):
                raise _IsBehindError
        self._known = now

    def _may_replace_previous(self) -> bool:
        """Return whether nothing, or a checkpoint of this run, stands where the previous one is kept."""
        if not os.path.lexists(self.previous):
            return True
        try:
            check_identity(self.previous, _parse(self.previous)["identity"], self.identity)
        except (OSError, DamagedFileError) as error:
            self._warn("previous", f"{error} It stays, and no previous checkpoint is kept.")
        except CheckpointMismatchError:
            self._warn("previous", f"{self.previous} is of another fit. It stays, and no previous checkpoint is kept.")
        else:
            return True
        return False

    def _warn(self, kind: str, text: str) -> None:
        if kind not in self._said:
            self._said.add(kind)
            warnings.warn(text, UserWarning, stacklevel=2)

    def _read(self) -> dict[str, Any] | None:
        try:
            return self._read_own(self.path)
        except FileNotFoundError:
            # Where there are no hard links, a write that was cut off between two renames leaves the previous alone.
            with suppress(FileNotFoundError, DamagedFileError):
                return self._read_own(self.previous)
            return None
        except DamagedFileError as error:
            if not self.previous.exists():
                raise DamagedFileError(f"{error} There is no previous one.{_ANEW}") from error
            saved, self._is_damaged = self._read_own(self.previous), True
            warnings.warn(
                f"{error} The previous checkpoint is used, of epoch {saved['n_epochs']}.", UserWarning, stacklevel=2
            )
            return saved

    def _read_own(self, path: Path) -> dict[str, Any]:
        saved = _parse(path)
        check_identity(path, saved["identity"], self.identity, writer=saved["writer"])
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


def _parse(path: Path) -> dict[str, Any]:
    """Return the contents of a checkpoint, of whatever fit.

    Raises
    ------
    CheckpointMismatchError
        If the file is no checkpoint, or of another format.
    DamagedFileError
    """
    arrays, content = read_file(path)
    if not isinstance(content, dict) or content.get("kind") != "checkpoint":
        raise CheckpointMismatchError(f"{path} is not a checkpoint. Give checkpoint= a path of its own.")
    if content.get("format") != FORMAT:
        raise CheckpointMismatchError(
            f"{path} was written by skvardict {_version_of(content)} in the checkpoint format "
            f"{str(content.get('format'))[:80]}, but this version reads {FORMAT}; before format 2 estimators were "
            "not assembled from parts. Continue it with that version, or delete it to start anew."
        )
    try:
        saved = unpack(content.get("state"), arrays)
    except ValueError as error:
        raise DamagedFileError(f"{path} does not hold what a checkpoint holds: {error}.") from error
    problem = find_problem_of_run(saved)
    if problem is not None:
        raise DamagedFileError(f"{path} does not hold what a checkpoint holds: {problem}.")
    return {"writer": None, **saved}


def check_identity(
    path: Path,
    saved: Mapping[str, str],
    now: Mapping[str, str],
    what: str = "fit",
    writer: Mapping[str, str] | None = None,
) -> None:
    """Raise a CheckpointMismatchError that names all in which two identities differ.

    Parameters
    ----------
    path : Path
        What was saved.
    saved, now : mapping of str
    what : str
        What the identity is of.
    writer : mapping of str or None
        The process that has saved it.
    """
    differing = [
        f"{name}: {saved.get(name, 'absent')[:200]} in the checkpoint, {now.get(name, 'absent')} now"
        for name in {**saved, **now}
        if saved.get(name) != now.get(name)
    ]
    if differing:
        longer = _LONGER if [text.partition(":")[0] for text in differing] == ["max_iter"] else ""
        raise CheckpointMismatchError(
            f"{path} belongs to another {what}{_said_of(writer, ', ')}. What differs: {'; '.join(differing)}. Restore "
            f"these, give checkpoint= another path, or delete it to start anew.{longer}"
        )


def _describe_this_process() -> dict[str, str]:
    return {
        "host": platform.node()[:80],
        "process": str(os.getpid()),
        "since": time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime()),
        "run": uuid4().hex,
    }


def _said_of(writer: Mapping[str, str] | None, before: str = "") -> str:
    """Return what is known of the process that wrote a checkpoint, behind `before`; earlier versions did not say."""
    if writer is None:
        return ""
    known = (writer[name][:80] for name in ("host", "process", "since"))
    host, process, since = ("".join(filter(str.isprintable, text)) for text in known)
    return f"{before}written by process {process} on {host}, in a fit that began {since}"


def _mark(path: Path) -> tuple[int, ...] | None:
    """Return what changes when a file is replaced; None where there is none."""
    try:
        return _mark_of(os.stat(path))
    except FileNotFoundError:
        return None


def _mark_of(status: os.stat_result) -> tuple[int, ...]:
    return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns


def _version_of(content: dict[str, Any]) -> str:
    """Return the version that wrote a checkpoint of any format."""
    place: Any = content
    for name in ("state", "dict", "identity", "dict", "skvardict"):
        place = place.get(name) if isinstance(place, dict) else None
    return place[:80] if isinstance(place, str) else "of an unknown version"


def _to_array(tensor: Tensor):
    return tensor.detach().cpu().numpy()
