"""Kill a process at every system call of a write: what is there is the old file or the new one, whole.

A process that is ready to write is traced by `strace`, which says what system calls the write makes; then, for each of
them in turn, another one is killed (SIGKILL) as it enters the call. After every kill the file must be the old or the
new one, byte for byte or, of checkpoints, the state of one epoch or the next with a right checksum; a file before it
that is kept must be whole; and the next writer must leave nothing in the folder but these.

    OMP_NUM_THREADS=1 python -m benchmarks.kill_writes --results benchmarks/results
"""

import argparse
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import skvardict
from benchmarks._results import Output
from skvardict.storage import writing
from skvardict.storage.files import read_file
from skvardict.storage.points import ObjectStore, PointStore
from skvardict.storage.writing import replacing

_CALL = re.compile(r"^(?:\[pid +\d+\] )?(\w+)\(")
ROWS = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)


def coder(n_epochs: int, alpha: float = 0.1) -> Any:
    """Return a small model."""
    return skvardict.StandardDictionaryLearning(3, alpha=alpha, encoder=None, max_iter=n_epochs, random_state=0)


@dataclass
class Write:
    """A write, and what may be there after it was cut off.

    Parameters
    ----------
    prepare : callable ``(folder) -> None``
        Writes what is there before.
    act : callable ``(folder) -> None``
        The write.
    files : tuple of str
        Names that may be there in the end.
    content : callable ``(path) -> object``
        Reads a file, and raises where it is not whole.
    """

    prepare: Callable[[Path], None]
    act: Callable[[Path], None]
    files: tuple[str, ...]
    content: Callable[[Path], Any]


def plain(folder: Path, data: bytes, **options: Any) -> None:
    """Write bytes."""
    with replacing(folder / "file", **options) as file:
        file.write(data)


def first(folder: Path, data: bytes) -> None:
    """Write bytes where there is no file."""
    with suppress(FileExistsError):
        plain(folder, data, new=True)


def epoch_of(path: Path) -> int:
    """Return the epoch of a checkpoint that is whole."""
    return read_file(path).content["state"]["dict"]["n_epochs"]


def fit_to(folder: Path, n_epochs: int) -> None:
    """Make a fit with a checkpoint; one that is there is continued."""
    coder(n_epochs).fit(ROWS, checkpoint=folder / "file")


def keep_row(folder: Path, number: float) -> None:
    """Keep a row of an experiment."""
    PointStore(folder).save("file", {"number": number}, {"made": "here"})


WRITES = {
    "bytes, first": Write(lambda folder: None, lambda folder: plain(folder, b"new" * 5000), ("file",), Path.read_bytes),
    "bytes, over others": Write(
        lambda folder: plain(folder, b"old" * 5000),
        lambda folder: plain(folder, b"new" * 5000),
        ("file",),
        Path.read_bytes,
    ),
    "bytes, where nothing may be": Write(
        lambda folder: None, lambda folder: first(folder, b"new" * 5000), ("file",), Path.read_bytes
    ),
    "bytes, the previous ones kept": Write(
        lambda folder: [plain(folder, data, previous=folder / "file.previous") for data in (b"older", b"old")],  # type: ignore[arg-type,return-value]
        lambda folder: plain(folder, b"new", previous=folder / "file.previous"),
        ("file", "file.previous"),
        Path.read_bytes,
    ),
    "a model, over another": Write(
        lambda folder: coder(1, 0.2).fit(ROWS).save(folder / "file"),
        lambda folder: MODEL[0].save(folder / "file"),
        ("file",),
        lambda path: skvardict.load(path).alpha,
    ),
    "a row, over another": Write(
        lambda folder: keep_row(folder, 1.0),
        lambda folder: keep_row(folder, 2.0),
        ("file.json",),
        lambda path: PointStore(path.parent).load("file", ["number"])["number"],
    ),
    "a fitted model in a store": Write(
        lambda folder: ObjectStore(folder).save("file", 1.0),
        lambda folder: ObjectStore(folder).save("file", 2.0),
        ("file.joblib",),
        lambda path: ObjectStore(path.parent).load("file"),
    ),
    "an epoch with its checkpoint": Write(
        lambda folder: fit_to(folder, 2), lambda folder: fit_to(folder, 3), ("file", "file.previous"), epoch_of
    ),
    "a fit with its first checkpoint": Write(
        lambda folder: None, lambda folder: fit_to(folder, 1), ("file", "file.previous"), epoch_of
    ),
}
MODEL: list[Any] = []


def run(write: Write, folder: Path, *options: str) -> tuple[int, list[str]]:
    """Let a process write while strace looks on; return its status, and the system calls in their order."""
    go, begin = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(begin)
        os.read(go, 1)  # until it is traced
        writing._looked_through.clear()
        write.act(folder)
        os._exit(0)
    os.close(go)
    log = folder.with_suffix(".strace")
    command = ["strace", "-f", "-p", str(pid), "-o", str(log), *options]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        line = tracer.stderr.readline()
        if "attached" not in line:
            os.kill(pid, signal.SIGKILL)
            raise SystemExit(f"strace cannot attach: {line}")
        os.write(begin, b".")
        os.close(begin)
        _, status = os.waitpid(pid, 0)
        tracer.wait()
    lines = log.read_text().splitlines() if log.exists() else []
    log.unlink(missing_ok=True)
    found = [_CALL.match(line.partition(" ")[2].strip()) for line in lines]
    return status, [match[1] for match in found if match]


def calls_of(write: Write, folder: Path, *, files_only: bool) -> list[tuple[str, int]]:
    """Return the system calls of a write, each with how often it has been made by then."""
    folder.mkdir()
    write.prepare(folder)
    selected = ["-e", "trace=%desc,%file"] if files_only else []
    status, calls = run(write, folder, *selected)
    assert status == 0
    counts: Counter[str] = Counter()
    numbered = []
    for name in calls[1:]:  # the first is the end of the wait
        counts[name] += 1
        numbered.append((name, counts[name]))
    return numbered


def check(write: Write, folder: Path, before: list[Any], after: list[Any]) -> str:
    """Return what is wrong in a folder in which a writer was killed, or an empty text."""
    found = []
    for name in write.files:
        try:
            found.append(write.content(folder / name))
        except FileNotFoundError:
            found.append(None)
        except Exception as error:
            return f"{name} is not whole: {type(error).__name__}: {error}"
    if found[0] not in (before[0], after[0]):
        return f"{write.files[0]} is neither the old nor the new one: {str(found[0])[:100]}"
    # Between its removal and its next name there is no previous one.
    if found[1:] and found[1] not in (before[1], after[1], before[0], None):
        return f"{write.files[1]} is none of those that may be there: {str(found[1])[:100]}"
    writing._looked_through.clear()
    write.act(folder)
    left = {path.name for path in folder.iterdir()} - set(write.files)
    if left:
        return f"left over: {left}"
    return "" if write.content(folder / write.files[0]) == after[0] else "the next writer did not succeed"


def state_of(write: Write, folder: Path) -> list[Any]:
    """Return the contents of the files of a write."""
    paths = [folder / name for name in write.files]
    return [write.content(path) if path.exists() else None for path in paths]


def kill_everywhere(write: Write, root: Path, *, files_only: bool) -> tuple[int, int, list[str]]:
    """Kill a write at each of its calls; return how many were made, how many kills took place, and what went wrong."""
    (root / "old").mkdir()
    write.prepare(root / "old")
    shutil.copytree(root / "old", root / "new")
    before = state_of(write, root / "old")
    write.act(root / "new")
    after = state_of(write, root / "new")
    wrong, n_killed = [], 0
    calls = calls_of(write, root / "calls", files_only=files_only)
    for index, (name, number) in enumerate(calls):
        folder = root / f"kill{index}"
        shutil.copytree(root / "old", folder)
        status, _ = run(write, folder, "-e", f"inject={name}:signal=SIGKILL:when={number}")
        n_killed += os.WIFSIGNALED(status)
        problem = check(write, folder, before, after)
        if problem:
            wrong.append(f"killed at {name} {number} (call {index} of {len(calls)}): {problem}")
        shutil.rmtree(folder)
    return len(calls), n_killed, wrong


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--writes", nargs="+", choices=WRITES, default=list(WRITES))
    parser.add_argument("--files-only", action="store_true", help="leave out calls for memory, signals and clocks")
    parser.add_argument("--results", type=Path, help="folder for a table")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    logging.getLogger("skvardict").setLevel(logging.ERROR)
    MODEL.append(coder(1).fit(ROWS))
    rows = []
    for name in arguments.writes:
        begin = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            n_calls, n_killed, wrong = kill_everywhere(WRITES[name], Path(folder), files_only=arguments.files_only)
        seconds = time.perf_counter() - begin
        rows.append(
            {"write": name, "system_calls": n_calls, "killed": n_killed, "wrong": len(wrong), "seconds": seconds}
        )
        print(
            f"{name}: {n_killed} kills in {n_calls} calls, {len(wrong)} wrong ({seconds:.0f} s)", *wrong[:5], sep="\n  "
        )
        sys.stdout.flush()
    if arguments.results:
        Output(arguments.results, "kill_writes", "benchmarks.kill_writes", argv).table(pd.DataFrame(rows))
    sys.exit(1 if any(row["wrong"] for row in rows) else 0)


if __name__ == "__main__":
    main()
