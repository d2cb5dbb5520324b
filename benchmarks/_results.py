"""Results of a benchmark: a CSV, a figure, and a JSON that says how they were made."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from time import perf_counter
from typing import Any

import pandas as pd
import torch

_LOCAL_OPTIONS = (
    "--results",
    "--runs",
    "--images",
    "--folder",
    "--output",
    "--keep",
)  # where things lie on this machine says nothing about the result


@dataclass
class Output:
    """Where one command writes: ``folder/name.csv``, ``.json`` and ``.png``, and more tables and figures by suffix."""

    folder: Path
    name: str
    module: str
    arguments: Sequence[str]

    def __post_init__(self):
        self.folder.mkdir(parents=True, exist_ok=True)
        self.begin = perf_counter()

    def table(self, table: pd.DataFrame, suffix: str = "", **facts: Any) -> None:
        """Print and write a table, and how it was made: `facts` stand beside command, versions and machine."""
        print(table.to_string(index=False, max_rows=60), flush=True)
        table.to_csv(self.folder / f"{self.name}{suffix}.csv", index=False, float_format="%.6g")
        header = {
            "command": " ".join(["python -m", self.module, *_portable(self.arguments)]),
            "versions": {
                "python": platform.python_version(),
                **{package: version(package) for package in ("torch", "numpy", "scikit-learn")},
            },
            "machine": describe_machine(),
            "seconds": round(perf_counter() - self.begin, 1),
            **facts,
        }
        (self.folder / f"{self.name}.json").write_text(json.dumps(header, indent=2) + "\n")

    def figure(self, figure, suffix: str = "") -> None:
        """Write a figure, small enough to be kept with the code."""
        figure.savefig(self.folder / f"{self.name}{suffix}.png", dpi=80, bbox_inches="tight")


def describe_machine() -> dict[str, Any]:
    """Return the kind of machine: processor, cores, threads of torch, GPU if there is one."""
    processor = platform.processor() or platform.machine()
    if sys.platform == "linux":
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), processor)
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "processor": processor,
        "n_cores": os.cpu_count(),
        "n_threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
    }


def _portable(arguments: Sequence[str]) -> list[str]:
    """Return the arguments without the folders of this machine; that of the data has its option and no name."""
    kept, skip = [], False
    for argument in arguments:
        option = argument.split("=")[0]
        is_local = option in _LOCAL_OPTIONS or option == "--images"
        if option == "--images":
            kept += ["--images", "FOLDER"]
        elif not skip and not is_local:
            kept.append(argument)
        skip = is_local and "=" not in argument
    return kept
