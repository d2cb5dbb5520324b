"""The README's example runs as it stands."""

import re
from pathlib import Path

import pytest

README = Path(__file__).resolve().parents[1] / "README.md"


def test_the_example_of_the_readme_runs(capsys):
    if not README.is_file():
        pytest.skip(f"{README} is not there: these tests were copied out of the repository")
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "sc__alpha" in capsys.readouterr().out
