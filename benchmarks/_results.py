"""Results of a benchmark: a CSV, a figure, and a JSON that says how they were made."""

import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

_LOCAL_OPTIONS = ("--results", "--runs")  # where things lie on this machine says nothing about the result


def write_results(folder: Path, name: str, table: pd.DataFrame, module: str, arguments: Sequence[str], **facts: Any):
    """Write ``name.csv`` and ``name.json`` into `folder`; `facts` stand in the latter beside command and versions."""
    folder.mkdir(parents=True, exist_ok=True)
    table.to_csv(folder / f"{name}.csv", index=False, float_format="%.6g")
    header = {
        "command": " ".join(["python -m", module, *_portable(arguments)]),
        "versions": {
            "python": platform.python_version(),
            **{package: version(package) for package in ("torch", "numpy", "scikit-learn")},
        },
        "machine": describe_machine(),
        **facts,
    }
    (folder / f"{name}.json").write_text(json.dumps(header, indent=2) + "\n")


def write_figure(folder: Path, name: str, figure) -> None:
    """Write ``name.png``, small enough to be kept with the code."""
    folder.mkdir(parents=True, exist_ok=True)
    figure.savefig(folder / f"{name}.png", dpi=90, bbox_inches="tight")


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
    kept, skip = [], False
    for argument in arguments:
        is_local = argument.split("=")[0] in _LOCAL_OPTIONS
        if not skip and not is_local:
            kept.append(argument)
        skip = is_local and "=" not in argument
    return kept
