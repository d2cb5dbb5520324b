"""The files of versions agree with what the package declares."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

_ROOT = Path(__file__).resolve().parents[2]
_PROJECT = tomllib.loads((_ROOT / "pyproject.toml").read_text())["project"]
_DECLARED = [*_PROJECT["dependencies"], *_PROJECT["optional-dependencies"]["test"]]


def _pinned(name):
    lines = (_ROOT / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if line and not line.startswith("#")]
    return {re.sub("[-_]", "-", package.lower()): Version(version) for package, version in pairs}


@pytest.mark.parametrize("text", _DECLARED)
def test_the_oldest_versions_are_the_lower_bounds(text):
    requirement = Requirement(text)
    (bound,) = (Version(one.version) for one in requirement.specifier if one.operator == ">=")
    pinned = _pinned("constraints-oldest.txt")[requirement.name.lower()]
    assert pinned in requirement.specifier
    assert pinned.release[: len(bound.release)] == bound.release


@pytest.mark.parametrize("text", _DECLARED)
def test_the_tested_versions_are_allowed(text):
    requirement = Requirement(text)
    assert _pinned("constraints.txt")[requirement.name.lower()] in requirement.specifier
