"""The README's example runs as it stands, and its links lead somewhere."""

import re
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
README = ROOT / "README.md"
pytestmark = pytest.mark.skipif(
    not README.is_file(), reason=f"{README} is not there: these tests were copied out of the repository"
)


def test_the_example_of_the_readme_runs(capsys):
    (code,) = re.findall(r"```python\n(.*?)```", README.read_text(), flags=re.DOTALL)
    exec(compile(code, "README.md", "exec"), {})
    assert "sc__alpha" in capsys.readouterr().out


def test_the_readme_is_short():
    assert len(README.read_text().split()) <= 600


def test_links_of_the_readme_lead_somewhere():
    text = README.read_text()
    targets = dict(re.findall(r"^\[(\w+)\]: (\S+)$", text, flags=re.MULTILINE))
    assert set(re.findall(r"\]\[(\w+)\]", text)) == set(targets)
    # Where the site has an address, a package index can show the README: then every link has to be whole.
    site = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"].get("urls", {}).get("Documentation")
    for target in targets.values():
        assert target.startswith("https://") if site else (ROOT / target).exists(), target
