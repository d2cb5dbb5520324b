"""Read mutated files: none may crash, run code, or take much more memory than its own size.

Targets: `files` (models and checkpoints, as they are read), `fits` (checkpoints, through whole calls of `fit`),
`points` (rows of experiments), `npz` (archives of photographs) and `shelf` (joblib files of searches, and what they
belong to).
Some mutants have changed bytes (bits, blocks, cuts, insertions, splices); others a changed header, changed JSON or
changed arrays, with a right checksum, as an attacker would see to it. A file may be read or be refused with the
documented errors, which change nothing; anything else counts as a crash, and so does a fit that gives weights that are
not finite or epochs that nobody asked for. An audit hook watches for code being compiled, executed, imported or
unpickled, for processes and sockets, and for any other file being opened, Python's own sources included: what it
remembers of them is dropped before every file, so that a stack that is rendered shows. Allocations are traced for every
tenth file (tracing is slow); the growth of the process is that of all.

    OMP_NUM_THREADS=1 python -m benchmarks.fuzz_files --files 200000
    OMP_NUM_THREADS=1 python -m benchmarks.fuzz_files --targets fits points npz shelf --files 100000
"""

import argparse
import linecache
import logging
import random
import resource
import sys
import tempfile
import time
import tracemalloc
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
from benchmarks._mutants import (
    mutate_archive,
    mutate_bytes,
    mutate_checkpoint,
    mutate_content,
    mutate_header,
    mutate_pickle,
    mutate_text,
)
from benchmarks._results import Output
from skvardict.datasets import load_whitened_patches
from skvardict.estimators._training import open_session
from skvardict.evaluation import regret_curve, regret_summary
from skvardict.model_selection._checkpoint import open_checkpoint
from skvardict.networks import MLP
from skvardict.rows import Rows
from skvardict.solvers import FISTA
from skvardict.storage import files
from skvardict.storage.files import DamagedFileError
from skvardict.storage.packing import unpack
from skvardict.storage.points import ObjectStore, PointStore
from skvardict.training import Checkpoint, CheckpointMismatchError, Outcome, Patience, TrainingDivergedError, loop

# Bytes above four times the size of a file: the objects of dense JSON (5,000 empty lists in 40 kB of text take 350 kB),
# which a valid file with that text would take too. Measured: 423 kB in 200,000 files.
ALLOWED_EXCESS = 2**19
# Of JSON without arrays, whose objects take up to 25 times the text, and of what a fit or a table takes by itself.
ALLOWED_EXCESS_OF_TEXT = 2**22
ALLOWED_SECONDS = 5.0
FORBIDDEN = ("exec", "compile", "import", "os.system", "subprocess", "socket", "pickle", "marshal", "ctypes", "os.exec")

Mutate = Callable[[bytes, bytes, random.Random], bytes]


@dataclass
class Target:
    """Files of one kind, ways to change them, and how they are read.

    Parameters
    ----------
    originals : list of bytes
    mutations : dict of callable ``(data, other, rng) -> bytes``
    read : callable ``(path, data) -> None``
        Reads what became of the original `data`; raises only `allowed` errors.
    allowed : tuple of type
        The documented errors.
    excess : int
        Bytes of memory above four times the size of a file.
    forbidden : tuple of str
        Events that must not happen while a file is read.
    """

    originals: list[bytes]
    mutations: dict[str, Mutate]
    read: Callable[[Path, bytes], None]
    allowed: tuple[type[Exception], ...]
    excess: int = ALLOWED_EXCESS
    forbidden: tuple[str, ...] = FORBIDDEN


@dataclass
class Report:
    """What became of the mutants of one target."""

    outcomes: Counter[str]
    crashes: list[str]
    events: list[str]
    excess: int = 0
    slowest: float = 0.0
    n_bytes: int = 0
    seconds: float = 0.0

    def row(self, name: str, n_files: int) -> dict[str, Any]:
        """Return a row of the table."""
        n_read = sum(count for outcome, count in self.outcomes.items() if outcome.endswith("read"))
        return {
            "target": name,
            "mutants": n_files,
            "read": n_read,
            "refused": n_files - n_read - len(self.crashes),
            "crashes": len(self.crashes),
            "forbidden_events": len(self.events),
            "mean_kB": self.n_bytes / n_files / 1024,
            "most_kB_above_four_times_the_file": self.excess / 1024,
            "slowest_seconds": self.slowest,
            "seconds": self.seconds,
        }


def originals(folder: Path) -> list[bytes]:
    """Return the bytes of files of several kinds."""
    X = np.random.default_rng(0).standard_normal((120, 40)).astype(np.float32)
    settings = {"n_components": 24, "max_iter": 12, "random_state": 0}
    model = skvardict.VarianceDictionaryLearning
    frame = pd.DataFrame(X, columns=[f"feature {index}" for index in range(40)])
    models = [
        model(**settings).fit(frame),
        model(**settings, decoder=MLP([30, 20]), positive_code=False).fit(X),
        model(**settings, encoder=None, solver=FISTA(max_iter=20), init=np.eye(24, 40)).fit(X),
        skvardict.StandardDictionaryLearning(**settings).fit(X),
    ]
    variational = (skvardict.SparseVAE, skvardict.ThresholdedVSC, skvardict.SpikeAndSlabVSC)
    models += [coder(**settings, encoder=MLP((20,))).fit(X) for coder in variational]
    for index, fitted in enumerate(models):
        fitted.save(folder / f"model{index}")
    model(**settings).fit(X, checkpoint=folder / "run")
    return [path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".previous"]


class Watch:
    """Counts what must not happen while a file is loaded."""

    def __init__(self, folder: Path):
        self.folder = str(folder)
        self.active = False
        self.events: list[str] = []
        self.forbidden = FORBIDDEN
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event.startswith(self.forbidden):
            self.events.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" and not isinstance(arguments[0], int) and not str(arguments[0]).startswith(self.folder):
            self.events.append(f"open {arguments[0]}")


class CheckpointReader:
    """Continues from a checkpoint as `fit` does, up to the first epoch."""

    def __init__(self, data: bytes):
        arrays, content = files.from_bytes(data)
        saved = unpack(content["state"], arrays)
        self.identity = saved["identity"]
        model = skvardict.VarianceDictionaryLearning(24, max_iter=2, random_state=0)
        model.n_features_in_ = 40
        rows = Rows(np.zeros((120, 40), np.float32))
        self.session = open_session(model, rows, model._plan(120), continued=False, seed=0)

    def __call__(self, path: Path) -> None:
        """Read and restore, or raise."""
        checkpoint = Checkpoint(path, 1, self.identity, 0, max_epochs=12)
        checkpoint.restore(self.session, Patience(10, 1e-4), Outcome(self.session.snapshot(), 0))


def model_files(folder: Path) -> Target:
    """Models and checkpoints, as they are read."""
    base = originals(folder)
    checkpoints = [data for data in base if b'"kind\\": \\"checkpoint' in data]
    read_checkpoint = CheckpointReader(checkpoints[0])

    def read(path: Path, data: bytes) -> None:
        (read_checkpoint if data in checkpoints else skvardict.load)(path)

    mutations: dict[str, Mutate] = {
        "bytes": mutate_bytes,
        "header": lambda data, other, rng: mutate_header(data, rng),
        "content": lambda data, other, rng: mutate_content(data, rng),
    }
    return Target(base, mutations, read, (ValueError, FileNotFoundError))


TINY: dict[str, Callable[[], Any]] = {
    "gradients": lambda: skvardict.VarianceDictionaryLearning(3, max_iter=3, early_stopping=True, random_state=0),
    "sums": lambda: skvardict.StandardDictionaryLearning(3, encoder=None, max_iter=3, random_state=0),
    "draws": lambda: skvardict.SparseVAE(3, encoder=MLP((5,)), max_iter=3, random_state=0),
}
ROWS = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)


def checkpoints_of_fits(folder: Path) -> Target:
    """Checkpoints of finished and unfinished fits, through the whole call that goes on from them."""
    makers: dict[bytes, Callable[[], Any]] = {}
    for name, make in TINY.items():
        for last in (1, 3):
            path = folder / f"{name}{last}"
            fit_until(make(), path, last)
            makers[path.read_bytes()] = make

    def read(path: Path, data: bytes) -> None:
        path.with_name(f"{path.name}.previous").unlink(missing_ok=True)
        model = makers[data]()
        before = dict(vars(model))
        try:
            model.fit(ROWS, checkpoint=path)
        except (DamagedFileError, CheckpointMismatchError):
            if vars(model) != before:
                raise AssertionError("a refused checkpoint has changed the estimator") from None
            raise
        if not all(np.isfinite(array).all() for array in model.params_.values()):
            raise AssertionError("weights that are not finite")
        if not 1 <= model.n_iter_ <= 3:
            raise AssertionError(f"{model.n_iter_} epochs")

    mutations: dict[str, Mutate] = {
        "bytes": mutate_bytes,
        "state": lambda data, other, rng: mutate_checkpoint(data, rng),
        "more of the state": lambda data, other, rng: mutate_checkpoint(data, rng),
        "header": lambda data, other, rng: mutate_header(data, rng),
    }
    allowed = (DamagedFileError, CheckpointMismatchError, TrainingDivergedError)
    return Target(list(makers), mutations, read, allowed, excess=ALLOWED_EXCESS_OF_TEXT)


def fit_until(model: Any, path: Path, last: int) -> None:
    """Fit with a checkpoint, up to the end of an epoch."""
    original = loop._step

    def step(session, *args):
        if session.n_epochs == last:
            raise KeyboardInterrupt
        return original(session, *args)

    loop._step = step
    try:
        model.fit(ROWS, checkpoint=path)
    except KeyboardInterrupt:
        pass
    finally:
        loop._step = original


def rows_of_experiments(folder: Path) -> Target:
    """Rows that were kept; every tenth through the curve that they belong to."""
    make, curve = TINY["sums"], {"alphas": [0.1], "seeds": [0], "folder": folder / "points"}
    regret_curve(make(), ROWS, ROWS, **curve)
    (kept,) = (folder / "points").glob("*.json")
    data, key, turn = kept.read_bytes(), kept.stem, [0]
    numbers = ("psnr", "r2", "sparsity", "l1", "n_dead", "component_std", "fit_seconds")

    def read(path: Path, data: bytes) -> None:
        turn[0] += 1
        if turn[0] % 10:
            path.rename(path.with_name("one.json"))
            row = PointStore(path.parent).load("one", numbers)
            if row is not None and not all(type(row[name]) in (int, float) for name in numbers):
                raise AssertionError(f"a row of other things than numbers: {str(row)[:200]}")
            return
        path.rename(folder / "points" / f"{key}.json")
        table = regret_curve(make(), ROWS, ROWS, **curve)
        regret_summary(table)

    mutations: dict[str, Mutate] = {
        "bytes": mutate_bytes,
        "text": lambda data, other, rng: mutate_text(data, rng),
        "more of the text": lambda data, other, rng: mutate_text(data, rng),
    }
    # A damaged row is computed again, which may import what a fit needs.
    return Target([data], mutations, read, (), excess=ALLOWED_EXCESS_OF_TEXT)


def archives(folder: Path) -> Target:
    """Archives of photographs."""
    images = np.random.default_rng(0).standard_normal((6, 5, 4)).astype(np.float32)
    np.savez(folder / "plain.npz", IMAGES=images)
    np.savez_compressed(folder / "small.npz", IMAGES=images)

    def read(path: Path, data: bytes) -> None:
        patches = load_whitened_patches(3, (2, 2), path=path, margin=0, random_state=0).data
        if patches.shape != (3, 4) or patches.dtype != np.float32:
            raise AssertionError(f"patches of shape {patches.shape} and {patches.dtype}")

    mutations: dict[str, Mutate] = {
        "bytes": mutate_bytes,
        "archive": lambda data, other, rng: mutate_archive(data, rng),
        "more of the archive": lambda data, other, rng: mutate_archive(data, rng),
    }
    base = [path.read_bytes() for path in sorted(folder.glob("*.npz"))]
    # numpy compiles the text of headers to literals.
    forbidden = tuple(event for event in FORBIDDEN if event != "compile")
    return Target(base, mutations, read, (ValueError,), excess=ALLOWED_EXCESS_OF_TEXT, forbidden=forbidden)


def shelf_of_a_search(folder: Path) -> Target:
    """Files of a search: fitted coders, which a checksum protects, and what they belong to."""
    store, coder = ObjectStore(folder / "coders", "coder"), TINY["sums"]().fit(ROWS)
    store.save("one", coder)
    open_checkpoint(folder / "search", coder, {"alpha"}, ROWS, None)
    about = folder / "search" / "search.json"
    saved, belongs = store.path("one").read_bytes(), about.read_bytes()

    def read(path: Path, data: bytes) -> None:
        if data == belongs:
            path.rename(about)
            open_checkpoint(folder / "search", coder, {"alpha"}, ROWS, None)
            return
        path.rename(store.path("one"))
        found = store.load("one")
        if found is not None and not np.array_equal(found.components_, coder.components_):
            raise AssertionError("another coder")

    def mutate(data: bytes, other: bytes, rng: random.Random) -> bytes:
        return mutate_text(data, rng) if data == belongs else mutate_pickle(data, other, rng)

    # Whole files, which a mutation may leave, are unpickled.
    forbidden = tuple(event for event in FORBIDDEN if event not in ("pickle", "import"))
    return Target(
        [saved, belongs],
        {"file": mutate},
        read,
        (CheckpointMismatchError,),
        excess=ALLOWED_EXCESS_OF_TEXT,
        forbidden=forbidden,
    )


TARGETS = {
    "files": model_files,
    "fits": checkpoints_of_fits,
    "points": rows_of_experiments,
    "npz": archives,
    "shelf": shelf_of_a_search,
}


def fuzz(target: Target, path: Path, n_files: int, rng: random.Random, watch: Watch, keep: Path | None) -> Report:
    """Read so many mutants."""
    report = Report(Counter(), [], [])
    kinds, begin = list(target.mutations), time.perf_counter()
    for index in range(n_files):
        data, other = rng.choice(target.originals), rng.choice(target.originals)
        kind = kinds[index % len(kinds)]
        changed = target.mutations[kind](data, other, rng)
        path.write_bytes(changed)
        is_traced = index % 10 == 0
        if is_traced:
            tracemalloc.start()
        linecache.clearcache()
        start = time.process_time()
        watch.active = True
        try:
            target.read(path, data)
            outcome = "read"
        except target.allowed as error:
            outcome = type(error).__name__
        except BaseException as error:
            outcome = "CRASH"
            report.crashes.append(f"file {index}, {kind}: {type(error).__name__}: {str(error)[:300]}")
            if keep:
                (keep / f"{index}.skv").write_bytes(changed)
        watch.active = False
        elapsed = time.process_time() - start
        if elapsed > ALLOWED_SECONDS:
            report.crashes.append(f"file {index}, {kind}: took {elapsed:.1f} s")
        report.slowest = max(report.slowest, elapsed)
        if is_traced:
            report.excess = max(report.excess, tracemalloc.get_traced_memory()[1] - 4 * len(changed))
            tracemalloc.stop()
        report.n_bytes += len(changed)
        report.outcomes[f"{kind}: {outcome}"] += 1
        if (index + 1) % 10_000 == 0:
            seconds = time.perf_counter() - begin
            print(f"{index + 1} files, {seconds:.0f} s, {len(report.crashes)} crashes", flush=True)
    report.events, watch.events = watch.events, []
    report.seconds = time.perf_counter() - begin
    return report


def run(name: str, n_files: int, seed: int, keep: Path | None, watches: list[Watch]) -> tuple[Report, bool]:
    """Fuzz one target, and say what became of its mutants; return whether all is well."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as folder_name:
        folder = Path(folder_name)
        (folder / "originals").mkdir()
        target = TARGETS[name](folder / "originals")
        path = folder / "mutated"
        for data in target.originals:  # imports and caches of the libraries, before anything is watched
            path.write_bytes(data)
            target.read(path, data)
            path.write_bytes(data[: len(data) // 2])
            with suppress(*target.allowed):
                target.read(path, data)
        if not watches:  # an audit hook stays for good
            watches.append(Watch(folder))
        watch = watches[0]
        watch.folder, watch.forbidden = str(folder), target.forbidden
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        report = fuzz(target, path, n_files, random.Random(seed), watch, keep)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024
    print(f"{name}: {n_files} files of {report.n_bytes / n_files / 1024:.0f} kB on average")
    print(f"outcomes: {dict(sorted(report.outcomes.items()))}")
    print(f"crashes: {len(report.crashes)}; forbidden events: {len(report.events)}")
    print(f"most memory above 4 x the file size: {report.excess / 1024:.0f} kB; slowest file {report.slowest:.2f} s")
    print(f"peak resident memory grew by {grown:.0f} MB over the run (that of the fuzzer and its tracing included)")
    for line in [*report.crashes[:20], *report.events[:20]]:
        print(line)
    return report, not (report.crashes or report.events or report.excess > target.excess)


def main(argv: Sequence[str] | None = None) -> None:
    """Run from the command line."""
    argv = sys.argv[1:] if argv is None else argv
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--targets", nargs="+", choices=TARGETS, default=["files"])
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that crashed")
    parser.add_argument("--results", type=Path, help="folder for a table of the outcomes")
    arguments = parser.parse_args(argv)
    warnings.simplefilter("ignore")
    logging.getLogger("skvardict").setLevel(logging.ERROR)
    watches: list[Watch] = []
    reports = {name: run(name, arguments.files, arguments.seed, arguments.keep, watches) for name in arguments.targets}
    if arguments.results:
        rows = [report.row(name, arguments.files) for name, (report, _) in reports.items()]
        outcomes = {name: dict(sorted(report.outcomes.items())) for name, (report, _) in reports.items()}
        name = "_".join(["fuzz", *arguments.targets])
        Output(arguments.results, name, "benchmarks.fuzz_files", argv).table(pd.DataFrame(rows), outcomes=outcomes)
    sys.exit(0 if all(is_well for _, is_well in reports.values()) else 1)


if __name__ == "__main__":
    main()
