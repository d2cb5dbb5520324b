"""Fits by several processes together: equal results, what they say to each other, speed, memory, and a killed process.

    python -m benchmarks.distributed equality      weights after some twenty steps, against those of one process
    python -m benchmarks.distributed speed         rows per second of one and two processes, messages, bytes of a batch
    python -m benchmarks.distributed scaling       a model on paper of larger machines, from what `speed` counted
    python -m benchmarks.distributed kill          how long the others take to notice, and what a resumed fit gives
    python -m benchmarks.distributed memory        peak memory of two processes on a map of --gigabytes, then deleted

Processes run on this machine with one thread each, connected by gloo. Of `scaling` only the messages are measured.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks._results import Output
from benchmarks.streaming import N_FEATURES, generate, reset_peak, status
from skvardict import (
    SparseVAE,
    StandardDictionaryLearning,
    ThresholdedVSC,
    VarianceDictionaryLearning,
)
from skvardict._utils.ranks import Ranks
from skvardict.distributed import RankError, data_parallel
from skvardict.solvers import FISTA
from skvardict.training import Adam, loop

# Time of a small all-reduce, bytes per second of a large one, and of one batch on one device: assumptions.
_MACHINES = {
    "1 GPU": (1, 0.0, 1.0),
    "8 GPUs of a node": (8, 20e-6, 300e9),
    "64 nodes of 8 GPUs": (512, 70e-6, 40e9),
}
_GPU_SECONDS = 1.36e-3  # of a batch whose operations are too small to fill the device, whatever its rows


def rows_of(n_rows: int, dtype: str) -> np.ndarray:
    """Return sparse combinations of atoms."""
    with tempfile.TemporaryDirectory() as name:
        generate(Path(name) / "X.bin", n_rows)
        return np.fromfile(Path(name) / "X.bin", dtype=np.float32).reshape(n_rows, N_FEATURES).astype(dtype)


def small_models() -> dict[str, Any]:
    kw: dict[str, Any] = {"max_iter": 5, "batch_size": 50, "random_state": 0}
    return {
        "VDL": VarianceDictionaryLearning(16, **kw),
        "VDL, 50 iterations": VarianceDictionaryLearning(16, solver=FISTA(max_iter=50), **kw),
        "VDL-NL": VarianceDictionaryLearning(16, decoder="mlp", **kw),
        "SDL": StandardDictionaryLearning(16, **kw),
        "SDL, statistics": StandardDictionaryLearning(16, encoder=None, solver=FISTA(20), **kw),
        "SVAE": SparseVAE(16, **kw),
        "VSC": ThresholdedVSC(16, **kw),
        "VSC, random threshold": ThresholdedVSC(16, threshold_prior="gamma", **kw),
    }


def large_models() -> dict[str, Any]:
    kw: dict[str, Any] = {"max_iter": 3, "random_state": 0}
    return {
        "VDL": VarianceDictionaryLearning(128, **kw),
        "VDL, 1,000 rows": VarianceDictionaryLearning(128, batch_size=1000, **kw),
        "VDL, Table 3": VarianceDictionaryLearning(128, solver=FISTA(), optimizer=Adam(1e-3), batch_size=250, **kw),
        "VDL-NL": VarianceDictionaryLearning(128, decoder="mlp", **kw),
        "SDL, statistics": StandardDictionaryLearning(128, encoder=None, **kw),
        "SVAE": SparseVAE(128, batch_size=200, **kw),
        "VSC": ThresholdedVSC(128, batch_size=200, **kw),
    }


class Counted:
    """Counts what goes through `Ranks` inside the block: messages, bytes and seconds in them."""

    def __enter__(self):
        self.n_calls, self.n_bytes, self.seconds = 0, 0, 0.0
        self.original = reduce_ = Ranks.reduce_

        def counted(ranks, values, *rest):
            begin = time.perf_counter()
            result = reduce_(ranks, values, *rest)
            self.seconds += time.perf_counter() - begin
            self.n_calls, self.n_bytes = self.n_calls + 1, self.n_bytes + values.numel() * values.element_size()
            return result

        Ranks.reduce_ = counted  # type: ignore[method-assign]
        return self

    def __exit__(self, *error):
        Ranks.reduce_ = self.original  # type: ignore[method-assign]


# --- what each process does -------------------------------------------------------------------------------------------


def work_equality(folder: Path, rows: str) -> dict[str, Any]:
    """Fit all small models; leave the weights."""
    rank, size = torch.distributed.get_rank(), torch.distributed.get_world_size()
    X = rows_of(230, "float64")
    if rows == "shard":
        X = np.array_split(X, [30, 150][: size - 1])[rank]
    with data_parallel(rows=rows):
        weights = {name: model.fit(X).params_ for name, model in small_models().items()}
    torch.save(weights, folder / f"{rows}.{size}.{rank}")
    return {}


def work_speed(folder: Path, rows: str) -> dict[str, Any]:
    """Fit all large models; return seconds of an epoch, messages and bytes."""
    X, found = rows_of(8000, "float32"), {}
    with data_parallel(rows=rows):
        for name, model in large_models().items():
            with Counted() as counted:
                model.fit(X)
            history = model.history_
            found[name] = {
                "rows per second": max(n / s for n, s in zip(history["n_rows"], history["seconds"])),
                "ms per batch": 1000 * min(history["seconds"]) * model.n_iter_ / model.n_steps_,
                "messages per batch": counted.n_calls / model.n_steps_,
                "kB per batch": counted.n_bytes / model.n_steps_ / 1000,
                "ms in messages per batch": 1000 * counted.seconds / model.n_steps_,
                "rows per batch": sum(history["n_rows"]) / model.n_steps_,
            }
    return found


def run_with_checkpoint(folder: Path, max_iter: int = 6) -> Any:
    """Fit with a checkpoint in `folder`."""
    model = VarianceDictionaryLearning(16, optimizer=Adam(1e-2), max_iter=max_iter, batch_size=50, random_state=0)
    return model.fit(rows_of(500, "float64"), checkpoint=folder / "run")


def work_kill(folder: Path, rows: str) -> dict[str, Any]:
    """Fit until the last process kills itself in the fourth epoch; return how long the others took to notice."""
    is_last = torch.distributed.get_rank() == torch.distributed.get_world_size() - 1
    original, last_step = loop._step, [0.0]

    def step(session, *rest):
        if is_last and session.n_epochs == 3 and session.n_steps % 10 == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        last_step[0] = time.perf_counter()
        return original(session, *rest)

    loop._step = step
    with data_parallel(rows=rows):
        try:
            run_with_checkpoint(folder)
        except RankError as error:
            return {"error": type(error).__name__, "seconds to notice": time.perf_counter() - last_step[0]}
    return {"error": "none"}


def work_memory(folder: Path, rows: str) -> dict[str, Any]:
    """Fit one epoch to a map; return the peak of memory above that after imports."""
    imported = status("VmRSS")
    X = np.memmap(folder / "X.bin", dtype=np.float32, mode="r").reshape(-1, N_FEATURES)
    model = VarianceDictionaryLearning(64, max_iter=1, batch_size=2000, random_state=0)
    reset_peak()
    begin = time.perf_counter()
    with data_parallel(rows=rows):
        model.fit(X)
    seconds = time.perf_counter() - begin
    return {
        "GB of the map": X.nbytes / 1e9,
        "peak MB above import": status("VmHWM") - imported,
        "rows per second": len(X) / seconds,
        "energy": model.history_["energy"][-1],
    }


# --- and how they are started -----------------------------------------------------------------------------------------


def launch(task: str, size: int, folder: Path, rows: str = "same", timeout: float | None = None) -> list[dict | None]:
    """Run a task in so many processes; return what each found, None of one that was killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    common = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "benchmarks.distributed", "--work", task, "--folder", str(folder), "--rows", rows]
    processes = [
        subprocess.Popen(command, env={**os.environ, **common, "RANK": str(rank)}, stdout=subprocess.PIPE, text=True)
        for rank in range(size)
    ]
    outputs = [process.communicate(timeout=timeout)[0] for process in processes]
    return [json.loads(text.splitlines()[-1]) if text else None for text in outputs]


def work(task: str, folder: Path, rows: str) -> None:
    """Do the part of one process, and print what it found."""
    warnings.simplefilter("ignore")
    torch.distributed.init_process_group("gloo", timeout=timedelta(minutes=5))
    print(json.dumps(globals()[f"work_{task}"](folder, rows)), flush=True)
    if task != "kill":
        torch.distributed.destroy_process_group()


def equality(output: Output, folder: Path) -> None:
    """Write the largest difference of weights from those of one process."""
    launch("equality", 1, folder)
    alone, table = torch.load(folder / "same.1.0", weights_only=False), []
    for size in (2, 3):
        for rows in ("same", "shard"):
            launch("equality", size, folder, rows)
            fits = [torch.load(folder / f"{rows}.{size}.{rank}", weights_only=False) for rank in range(size)]
            for name, expected in alone.items():
                differences = [abs(fit[name][key] - expected[key]).max() for fit in fits for key in expected]
                table.append({"model": name, "processes": size, "rows": rows, "difference": max(differences)})
    output.table(pd.DataFrame(table))


def speed(output: Output, folder: Path) -> None:
    """Write speed and messages of one and two processes."""
    found = {size: launch("speed", size, folder)[0] for size in (1, 2)}
    output.table(
        pd.DataFrame(
            {"model": name, "processes": size, **numbers}
            for name in large_models()
            for size in found
            for numbers in [(found[size] or {})[name]]
        )
    )


def scaling(output: Output, folder: Path) -> None:
    """Write what messages would cost on larger machines, at so many rows of a batch for each device."""
    measured = pd.read_csv(output.folder / "distributed_speed.csv")
    table: list[dict[str, Any]] = []
    for _, numbers in measured[measured.processes == 2].iterrows():
        for machine, (n_devices, latency, bandwidth) in _MACHINES.items():
            n_bytes = 1000 * numbers["kB per batch"] * 2 * (n_devices - 1) / n_devices
            spoken = numbers["messages per batch"] * latency + n_bytes / bandwidth
            table += [
                {
                    "model": numbers["model"],
                    "machine": machine,
                    "rows per device": n_rows,
                    "rows per batch": n_rows * n_devices,
                    "ms of messages": 1000 * spoken,
                    "ms per batch": 1000 * (_GPU_SECONDS + spoken),
                    "million rows per second": n_rows * n_devices / (_GPU_SECONDS + spoken) / 1e6,
                    "efficiency": _GPU_SECONDS / (_GPU_SECONDS + spoken),
                }
                for n_rows in (200, 1000)
            ]
    output.table(pd.DataFrame(table), assumed={"seconds of a batch": _GPU_SECONDS, "machines": _MACHINES})


def kill(output: Output, folder: Path) -> None:
    """Write how a fit of three processes ends when one is killed, and how one and two go on."""
    warnings.simplefilter("ignore")
    table = []
    whole = run_with_checkpoint(_made(folder / "whole"))
    for size in (2, 3):
        place = _made(folder / f"killed{size}")
        first = launch("kill", size, place, timeout=300)[0] or {}
        resumed = run_with_checkpoint(place)
        differences = [abs(resumed.params_[name] - array).max() for name, array in whole.params_.items()]
        row = {"processes": size, **first, "resumed after epoch": resumed.resumed_epoch_}
        table.append({**row, "difference of the resumed fit": max(differences)})
    output.table(pd.DataFrame(table))


def memory(output: Output, folder: Path, gigabytes: float) -> None:
    """Write the peaks of two processes that fit to a map together."""
    block = rows_of(20_000, "float32")
    with open(folder / "X.bin", "wb") as file:
        for _ in range(round(gigabytes * 1e9 / block.nbytes)):  # what rows are does not matter here
            file.write(block.data)
    output.table(pd.DataFrame({"process": rank, **(row or {})} for rank, row in enumerate(launch("memory", 2, folder))))


def _made(folder: Path) -> Path:
    folder.mkdir()
    return folder


def main() -> None:
    """Run from the command line."""
    tasks = {"equality": equality, "speed": speed, "scaling": scaling, "kill": kill, "memory": memory}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("task", choices=tasks, nargs="?")
    parser.add_argument("--gigabytes", type=float, default=6.0)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    parser.add_argument("--folder", type=Path, help="where files are written and deleted")
    parser.add_argument("--work", help=argparse.SUPPRESS)
    parser.add_argument("--rows", default="same", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.folder, arguments.rows)
        return
    output = Output(arguments.results, f"distributed_{arguments.task}", "benchmarks.distributed", sys.argv[1:])
    with tempfile.TemporaryDirectory(dir=arguments.folder) as name:
        further = [arguments.gigabytes] if arguments.task == "memory" else []
        tasks[arguments.task](output, Path(name), *further)


if __name__ == "__main__":
    main()
