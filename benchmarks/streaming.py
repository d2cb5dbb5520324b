"""Fit and transform a file larger than a bound on memory: peak resident memory and rows per second.

Writes a float32 file of ``--gigabytes`` with sparse combinations of planted atoms, then measures, each in a process of
its own: one epoch of `fit` and a `transform` of the read-only memory map into another file, and the same with the rows
in memory. Memory is the peak above what the process holds after its imports; rows per second are of processor time,
which other work on the machine does not change much. Both fits must end with the same bits. The file is deleted
afterwards.

    OMP_NUM_THREADS=1 python -m benchmarks.streaming --gigabytes 6
"""

import argparse
import hashlib
import json
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path

import numpy as np

N_FEATURES, N_PLANTED = 784, 40
N_COMPONENTS = 64


def generate(path: Path, n_rows: int) -> None:
    """Write rows of mean square 1."""
    rng = np.random.default_rng(0)
    atoms = rng.standard_normal((N_PLANTED, N_FEATURES), dtype=np.float32)
    with open(path, "wb") as file:
        for start in range(0, n_rows, 20_000):
            codes = np.maximum(rng.standard_normal((min(20_000, n_rows - start), N_PLANTED), dtype=np.float32) - 1, 0)
            rows = codes @ atoms
            file.write((rows / np.sqrt(0.0754 * N_PLANTED)).astype(np.float32).tobytes())


def status(field: str) -> float:
    """Return a memory counter of this process, in MB."""
    with open("/proc/self/status") as file:
        return int(next(line for line in file if line.startswith(field)).split()[1]) / 1024


def reset_peak() -> None:
    """Let the peak counter begin anew."""
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")


def measure(folder: Path, n_rows: int, in_memory: bool) -> None:
    """Fit and transform, and print what it took as JSON."""
    from skvardict import VarianceDictionaryLearning

    warnings.simplefilter("ignore")
    imported = status("VmRSS")
    shape = (n_rows, N_FEATURES)
    X: np.ndarray = np.memmap(folder / "X.bin", dtype=np.float32, mode="r", shape=shape)
    if in_memory:
        X = np.fromfile(folder / "X.bin", dtype=np.float32).reshape(shape)
        out: np.ndarray = np.empty((n_rows, N_COMPONENTS), dtype=np.float32)
    else:
        out = np.memmap(folder / "codes.bin", dtype=np.float32, mode="w+", shape=(n_rows, N_COMPONENTS))
    model = VarianceDictionaryLearning(N_COMPONENTS, max_iter=1, random_state=0)
    results: dict[str, object] = {"rows": n_rows, "in memory": in_memory}
    for name, call in (("fit", lambda: model.fit(X)), ("transform", lambda: model.transform(X, out=out))):
        reset_peak()
        wall, cpu = time.perf_counter(), time.process_time()
        call()
        wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
        results[name] = {
            "peak MB above import": round(status("VmHWM") - imported),
            "rows per CPU second": round(n_rows / cpu),
            "rows per second": round(n_rows / wall),
        }
    results["digest"] = hashlib.sha256(model.components_.tobytes() + out[:: n_rows // 1000].tobytes()).hexdigest()[:16]
    print(json.dumps(results))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--folder", type=Path, help="where the file is written; needs 1.1 times its size")
    parser.add_argument("--measure", choices=["map", "memory"])
    arguments = parser.parse_args()
    n_rows = round(arguments.gigabytes * 1e9 / (4 * N_FEATURES))
    if arguments.measure:
        measure(arguments.folder, n_rows, arguments.measure == "memory")
        return
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        generate(Path(name) / "X.bin", n_rows)
        command = [
            sys.executable,
            "-m",
            "benchmarks.streaming",
            "--gigabytes",
            str(arguments.gigabytes),
            "--folder",
            name,
        ]
        results = []
        for kind in ("map", "memory"):
            output = subprocess.run([*command, "--measure", kind], capture_output=True, text=True, check=True).stdout
            results.append(json.loads(output))
            print(output.strip(), flush=True)
    print("same bits:", results[0]["digest"] == results[1]["digest"])


if __name__ == "__main__":
    main()
