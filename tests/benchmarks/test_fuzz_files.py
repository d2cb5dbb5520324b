"""The fuzzer of files: short runs end well, and its audit notices what must not happen."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

AUDITED = """
import sys, traceback, linecache
from pathlib import Path
from benchmarks.fuzz_files import Watch

watch = Watch(Path(sys.argv[1]))
linecache.clearcache()
for active, action in [
    (True, traceback.format_stack), (True, lambda: eval("1")), (True, lambda: exec("import colorsys")),
    (True, lambda: open(Path(sys.argv[1], "own"), "w").close()), (False, lambda: eval("1")),
]:
    watch.events.clear()
    watch.active = active
    action()
    watch.active = False
    print(bool(watch.events))
"""


def run(*arguments):
    """Run Python in a process of its own: an audit hook stays for good."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=300)


def test_the_audit_notices_sources_code_and_imports(tmp_path):
    script, folder = tmp_path / "audited.py", tmp_path / "files"
    script.write_text(AUDITED)
    folder.mkdir()
    done = run(str(script), str(folder))
    assert done.stdout.split() == ["True", "True", "True", "False", "False"], done.stderr


def test_three_hundred_files():
    done = run("-m", "benchmarks.fuzz_files", "--files", "300", "--seed", "1")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "crashes: 0; forbidden events: 0" in done.stdout


def test_some_mutants_of_every_other_kind():
    """The quick version of 100,000 each."""
    targets = ["fits", "points", "npz", "shelf"]
    done = run("-m", "benchmarks.fuzz_files", "--targets", *targets, "--files", "250", "--seed", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("crashes: 0; forbidden events: 0") == len(targets)
