"""Writes that are cut off, and writers that meet: the quick versions of the benchmarks of all kinds and rounds."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments):
    """Run a benchmark in a process that has no threads when it forks."""
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=600)


def test_two_writers_of_one_path():
    done = run("benchmarks.two_writers", "--rounds", "4")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("0 of 4 rounds went wrong") == 4


def can_trace():
    if shutil.which("strace") is None:
        return False
    return subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True).returncode == 0


@pytest.mark.skipif(not can_trace(), reason="no strace here, or no permission to trace")
def test_kills_at_the_system_calls_of_a_write():
    writes = ["bytes, where nothing may be", "bytes, the previous ones kept", "an epoch with its checkpoint"]
    done = run("benchmarks.kill_writes", "--files-only", "--writes", *writes)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count(", 0 wrong") == len(writes)
