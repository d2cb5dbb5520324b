"""The package's layers, and what importing it may not do."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def _run(code):
    return subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)


def test_imports_point_downwards_only():
    result = _run("from importlinter.cli import lint_imports_command; lint_imports_command()")
    assert result.returncode == 0, result.stdout + result.stderr


def test_importing_the_package_loads_no_plots_and_no_cuda():
    code = "import sys, torch, skvardict; print('matplotlib' in sys.modules, torch.cuda.is_initialized())"
    assert _run(code).stdout.split() == ["False", "False"]
