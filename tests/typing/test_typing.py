"""A type checker on the scripts of users: what is right is accepted, what is wrong is refused."""

import json
import os
import re
import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import skvardict

FOLDER = Path(__file__).parent
ERROR = re.compile(r"^[^:]+:(\d+): error: .*\[([a-z-]+)\]$", re.MULTILINE)


def errors_of(script, tmp_path):
    """Return the errors of `mypy --strict` in a script by line, as for an installed package: not those of others."""
    pytest.importorskip("mypy", reason="mypy is not installed: pip install --group dev")
    package = Path(skvardict.__file__).parent
    assert (package / "py.typed").is_file()
    options = ["--strict", "--follow-imports=silent", f"--cache-dir={tmp_path}", f"--config-file={os.devnull}"]
    result = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(FOLDER / script)],
        cwd=tmp_path,
        env={**os.environ, "MYPYPATH": str(package.parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return {int(line): kind for line, kind in ERROR.findall(result.stdout)}


def test_a_script_that_fits_transforms_saves_and_loads_is_accepted(tmp_path):
    assert errors_of("accepted.py", tmp_path) == {}


def lines_refused_by_pyright(script):
    """Return the numbers of the lines with an error of pyright, at its standard settings."""
    if shutil.which("pyright") is None:
        pytest.skip("pyright is not installed: pip install pyright")
    options = ["--outputjson", "--pythonpath", sys.executable]
    result = subprocess.run(
        ["pyright", *options, str(FOLDER / script)],
        cwd=Path(skvardict.__file__).parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode in (0, 1), result.stdout + result.stderr
    return {finding["range"]["start"]["line"] + 1 for finding in json.loads(result.stdout)["generalDiagnostics"]}


def test_pyright_accepts_and_refuses_the_same():
    lines = (FOLDER / "refused.py").read_text().splitlines()
    assert lines_refused_by_pyright("accepted.py") == set()
    assert lines_refused_by_pyright("refused.py") == {n for n, line in enumerate(lines, start=1) if "  # " in line}


def test_that_script_runs(capsys):
    runpy.run_path(str(FOLDER / "accepted.py"))["main"]()
    assert capsys.readouterr().out


def test_wrong_values_and_unknown_parameters_are_refused(tmp_path):
    lines = (FOLDER / "refused.py").read_text().splitlines()
    marked = {number: line.partition("  # ")[2] for number, line in enumerate(lines, start=1) if "  # " in line}
    assert len(marked) == 8
    assert errors_of("refused.py", tmp_path) == marked
