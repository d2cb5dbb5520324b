"""Load mutated model files and checkpoints: none may crash, run code, or take much more memory than its own size.

A third of the files has changed bytes (bits, blocks, cuts, insertions, splices), a third a changed header, a third
changed contents; the last two get a right checksum, as an attacker would see to it. A file may load or be refused
with the documented errors; anything else counts as a crash. An audit hook watches for code being compiled, executed,
imported or unpickled, for processes and sockets, and for any other file being opened, Python's own sources included:
what it remembers of them is dropped before every file, so that a stack that is rendered shows. Allocations are traced
for every tenth file (tracing is slow); the growth of the process is that of all.

    OMP_NUM_THREADS=1 python -m benchmarks.fuzz_files --files 200000
"""

import argparse
import copy
import json
import linecache
import random
import resource
import struct
import sys
import tempfile
import time
import tracemalloc
import warnings
from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors import SafetensorError
from safetensors.numpy import load as parse
from safetensors.numpy import save as serialize

import skvardict
from skvardict.estimators._training import open_session
from skvardict.networks import MLP
from skvardict.rows import Rows
from skvardict.solvers import FISTA
from skvardict.storage import files
from skvardict.storage.packing import unpack
from skvardict.training import Checkpoint, Outcome, Patience

ALLOWED = (ValueError, FileNotFoundError)  # DamagedFileError and CheckpointMismatchError are ValueErrors
# Bytes above four times the size of a file: the objects of dense JSON (5,000 empty lists in 40 kB of text take 350 kB),
# which a valid file with that text would take too. Measured: 423 kB in 200,000 files.
ALLOWED_EXCESS = 2**19
FORBIDDEN = ("exec", "compile", "import", "os.system", "subprocess", "socket", "pickle", "marshal", "ctypes", "os.exec")
HOSTILE = [
    None, True, -1, 0, 1, 2**31, 2**63 - 1, 10**30, -(10**18), 0.5, 1e308, "", "x" * 300, "../../etc/passwd", "cuda:0",
    "builtins.eval", [], {}, [[]] * 50, [1] * 3000, {"array": "../x"}, {"tuple": 3}, {"dict": []}, {"numbers": "x"},
    {"strings": ["a", "b"]}, {"float": "1"}, {"omitted": "builder"}, {"part": {"FISTA": {"max_iter": -3}}},
    {"part": {"ISTA": {}}}, {"part": {"ISTA": {"tol": {"part": {"FISTA": {}}}}}}, {"part": {"os": {}}}, {"part": 1},
    {"part": {"MLP": {"hidden_layer_sizes": [1] * 3000}}},
    {"part": {"Adam": {"schedule": {"part": {"StepDecay": {}}}}}},
    {"device": "meta"}, {"device": "cuda"}, {"float": "nan"}, {"array_of": 1}, "mlp", "lista",
]  # fmt: skip


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


def mutate_bytes(data: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change bytes, sizes or order; half of the time in the header."""
    changed = bytearray(data)
    end = len(data) if rng.random() < 0.5 else 8 + int.from_bytes(data[:8], "little")
    for _ in range(rng.choice([1, 1, 1, 2, 5, 20])):
        position, length = rng.randrange(end), rng.choice([1, 2, 4, 8, 100])
        kind = rng.randrange(8)
        if kind == 0:
            changed[position % len(changed)] ^= 1 << rng.randrange(8)
        elif kind == 1:
            changed[position : position + length] = rng.randbytes(length)
        elif kind == 2:
            del changed[position : position + length]
        elif kind == 3:
            changed[position:position] = rng.randbytes(length)
        elif kind == 4:
            del changed[max(1, position) :]
        elif kind == 5:
            changed[:8] = struct.pack("<Q", rng.choice([0, 1, len(data), 2**31, 2**63, rng.randrange(len(data))]))
        elif kind == 6:
            changed[position:] = other[position:]
        else:
            start = rng.randrange(len(changed) or 1)
            changed[position:position] = changed[start : start + length]
        if not changed:
            return b""
    return bytes(changed)


def mutate_header(data: bytes, rng: random.Random) -> bytes:
    """Change entries of the safetensors header; where the library accepts them, make the checksum right."""
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), data[8 + size :]
    for _ in range(rng.choice([1, 1, 2, 4])):
        name = rng.choice([name for name in header if name != "__metadata__"])
        entry = header[name]
        if not isinstance(entry, dict) or len(entry.get("data_offsets") or []) != 2:
            continue  # spoilt already
        kind = rng.randrange(6)
        if kind == 0:
            entry["dtype"] = rng.choice(["F32", "F64", "I64", "U8", "BF16", "F8_E4M3", "BOOL", "F4", "OBJECT", 3, None])
        elif kind == 1:
            entry["shape"] = rng.choice(
                [[], [2**40, 2**40], [-1], [0], entry["shape"][::-1], [*entry["shape"], 1], "a"]
            )
        elif kind == 2:
            begin, end = entry["data_offsets"]
            entry["data_offsets"] = rng.choice([[end, begin], [begin, end + 8], [0, 2**62], [begin], None, [-8, end]])
        elif kind == 3:
            header[rng.choice(["../x", "", "x" * 200, "fitted.params_.decoder.components"])] = header.pop(name)
        elif kind == 4:
            header[name] = rng.choice(HOSTILE)
            break
        else:
            other = rng.choice([other for other in header if other != "__metadata__"])
            header[name], header[other] = header[other], header[name]
    if rng.random() < 0.1:
        header["__metadata__"] = rng.choice(HOSTILE)
    changed = assemble(header, body)
    try:
        text = header["__metadata__"]["skvardict"]
        header["__metadata__"]["sha256"] = files.digest(parse(changed), text)
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        return changed
    return assemble(header, body)


def assemble(header: dict, body: bytes) -> bytes:
    """Return the bytes of a file."""
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + body


def mutate_content(data: bytes, rng: random.Random) -> bytes:
    """Change the JSON or the arrays, and make the checksum right."""
    arrays, text = parsed(data)
    arrays, content = dict(arrays), json.loads(text)
    for _ in range(rng.choice([1, 1, 2, 4])):
        if rng.random() < 0.6:
            mutate_json(content, arrays, rng)
            continue
        if not arrays:
            break
        name = rng.choice(list(arrays))
        array = arrays.pop(name)
        kind = rng.randrange(6)
        if kind == 0:
            arrays[name] = array.T
        elif kind == 1:
            arrays[name] = array.reshape(-1)[: rng.randrange(array.size + 1)]
        elif kind == 2:
            arrays[name] = array.astype(rng.choice([np.float64, np.int64, np.uint8, np.bool_]))
        elif kind == 3 and array.dtype.kind == "f":
            arrays[name] = np.full_like(array, rng.choice([np.nan, np.inf, 1e30, 0]))
        elif kind == 4 and arrays:
            arrays[name] = arrays[rng.choice(list(arrays))]
        # else it stays away
    text = json.dumps(content)  # may be longer than what `save` writes
    arrays = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    return serialize(arrays, metadata={"skvardict": text, "sha256": files.digest(arrays, text)})


@cache
def parsed(data: bytes) -> tuple[dict[str, np.ndarray], str]:
    """Return the arrays and the JSON of a file."""
    arrays, content = files.from_bytes(data)
    return arrays, json.dumps(content)


def mutate_json(content: object, arrays: dict[str, np.ndarray], rng: random.Random) -> None:
    """Change one value, key or entry somewhere in nested JSON, in place."""
    places: list[tuple] = []

    def walk(node: object) -> None:
        items = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
        for key, value in items:
            places.append((node, key))
            walk(value)

    walk(content)
    if not places:
        return
    node, key = rng.choice(places)
    kind = rng.randrange(6)
    if kind == 0 and isinstance(node, dict):
        del node[key]
    elif kind == 1 and isinstance(node, dict):
        names = ["transform", "__class__", "components_", "n_iter_", "a" * 100, "solver", "part", "FISTA"]
        node[rng.choice(names)] = node.pop(key)
    elif kind == 2:
        other, other_key = rng.choice(places)
        node[key] = copy.deepcopy(other[other_key]) if other_key in range(len(other)) or isinstance(other, dict) else 0
    elif kind == 3 and isinstance(node[key], int | float) and not isinstance(node[key], bool):
        node[key] = rng.choice([node[key] + 1, -node[key], node[key] * 10**9, 0])
    elif kind == 4 and arrays:
        reference = {rng.choice(["array", "numbers"]): rng.choice(list(arrays))}
        node[key] = rng.choice([reference, [reference] * 100])
    else:
        node[key] = copy.deepcopy(rng.choice(HOSTILE))


class Watch:
    """Counts what must not happen while a file is loaded."""

    def __init__(self, folder: Path):
        self.folder = str(folder)
        self.active = False
        self.events: list[str] = []
        sys.addaudithook(self._note)

    def _note(self, event: str, arguments: tuple) -> None:
        if not self.active:
            return
        if event.startswith(FORBIDDEN):
            self.events.append(f"{event} {str(arguments)[:200]}")
        elif event == "open" and not str(arguments[0]).startswith(self.folder):
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


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--files", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--keep", type=Path, help="folder for files that crashed")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    rng = random.Random(arguments.seed)
    outcomes: Counter[str] = Counter()
    excess, slowest, total = 0, 0.0, 0
    crashes: list[str] = []
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if shared.is_dir() else None) as name:
        folder = Path(name)
        (folder / "originals").mkdir()
        base = originals(folder / "originals")
        path = folder / "mutated"
        checkpoints = [data for data in base if b'"kind\\": \\"checkpoint' in data]
        read_checkpoint = CheckpointReader(checkpoints[0])
        for data in base:  # imports and caches of the libraries, before anything is watched
            path.write_bytes(data)
            (read_checkpoint if data in checkpoints else skvardict.load)(path)
        watch = Watch(folder)
        resident = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        begin = time.perf_counter()
        for index in range(arguments.files):
            data, other = rng.choice(base), rng.choice(base)
            kind = ("bytes", "header", "content")[index % 3]
            if kind == "bytes":
                changed = mutate_bytes(data, other, rng)
            else:
                changed = mutate_header(data, rng) if kind == "header" else mutate_content(data, rng)
            path.write_bytes(changed)
            is_traced = index % 10 == 0
            if is_traced:
                tracemalloc.start()
            linecache.clearcache()
            start = time.process_time()
            watch.active = True
            try:
                (read_checkpoint if data in checkpoints else skvardict.load)(path)
                outcome = "loaded"
            except ALLOWED as error:
                outcome = type(error).__name__
            except BaseException as error:
                outcome = "CRASH"
                crashes.append(f"file {index}, {kind}: {type(error).__name__}: {str(error)[:300]}")
                if arguments.keep:
                    (arguments.keep / f"{index}.skv").write_bytes(changed)
            watch.active = False
            slowest = max(slowest, time.process_time() - start)
            if is_traced:
                excess = max(excess, tracemalloc.get_traced_memory()[1] - 4 * len(changed))
                tracemalloc.stop()
            total += len(changed)
            outcomes[f"{kind}: {outcome}"] += 1
            if (index + 1) % 10_000 == 0:
                print(f"{index + 1} files, {time.perf_counter() - begin:.0f} s, {len(crashes)} crashes", flush=True)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident) / 1024
    print(f"{arguments.files} files of {total / arguments.files / 1024:.0f} kB on average")
    print(f"outcomes: {dict(sorted(outcomes.items()))}")
    print(f"crashes: {len(crashes)}; forbidden events: {len(watch.events)}")
    print(f"most memory above 4 x the file size: {excess / 1024:.0f} kB; slowest file {slowest:.2f} s")
    print(f"peak resident memory grew by {grown:.0f} MB over the run (that of the fuzzer and its tracing included)")
    for line in [*crashes[:20], *watch.events[:20]]:
        print(line)
    sys.exit(1 if crashes or watch.events or excess > ALLOWED_EXCESS else 0)


if __name__ == "__main__":
    main()
