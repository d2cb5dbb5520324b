"""The folder in which a search keeps its coders."""

import json
from pathlib import Path
from typing import Any

from skvardict._utils.types import FilePath
from skvardict.model_selection._parts import cut
from skvardict.storage.files import write_aside
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters
from skvardict.storage.points import all_versions
from skvardict.training import CheckpointMismatchError
from skvardict.training.checkpoint import check_identity

_FILE = "search.json"  # what the folder belongs to
_OF_PIPELINES = ("steps", "memory", "transform_input")


def open_checkpoint(path: FilePath, estimator: Any, searched: set[str], X: Any, y: Any) -> Path:
    """Return the folder of a search, which is made if there is none.

    Parameters
    ----------
    path : path
    estimator : estimator
        What the search configures.
    searched : set of str
        Parameters that it sets; a search over others of their values may use the same folder.
    X, y : array-like

    Raises
    ------
    CheckpointMismatchError
        If the folder belongs to another search, or is none of a search.
    ValueError
        If a parameter cannot be told from others.
    """
    folder, now = Path(path), _identity(estimator, searched, X, y)
    about = folder / _FILE
    if about.is_file():
        check_identity(folder, _read(about), now, "search")
    elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointMismatchError(
            f"{folder} is not the checkpoint of a search. Give checkpoint= a folder of its own."
        )
    else:
        write_aside(about, lambda unfinished: unfinished.write_text(json.dumps(now, indent=1)))
    return folder


def _identity(estimator: Any, searched: set[str], X: Any, y: Any) -> dict[str, str]:
    """Return what all coders of a search depend on, by name."""
    parts = cut(estimator)
    later = [] if isinstance(parts, str) or parts.after is None else [name for name, _ in parts.after.steps]
    parameters = {
        name: text
        for name, text in fingerprint_parameters(estimator).items()
        if name not in searched and name not in _OF_PIPELINES and name.partition("__")[0] not in later
    }
    return {**all_versions(), **parameters, "X": fingerprint(X, "X"), "y": fingerprint(y, "y")}


def _read(about: Path) -> dict[str, str]:
    try:
        saved = json.loads(about.read_text())
    except ValueError as error:
        raise CheckpointMismatchError(f"{about} is damaged ({error}). Delete its folder to start anew.") from error
    if not isinstance(saved, dict):
        raise CheckpointMismatchError(f"{about} does not say what it belongs to. Delete its folder to start anew.")
    return saved
