"""The folder in which a search keeps its coders."""

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from skvardict._utils.types import FilePath
from skvardict.model_selection._parts import cut
from skvardict.storage.files import DamagedFileError, read_json
from skvardict.storage.fingerprint import fingerprint, fingerprint_parameters
from skvardict.storage.points import all_versions
from skvardict.storage.writing import is_finished, replacing
from skvardict.training import CheckpointMismatchError
from skvardict.training.checkpoint import check_identity

_FILE = "search.json"  # what the folder belongs to
_LARGEST = 2**22
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
    if not about.is_file():
        if folder.exists() and (not folder.is_dir() or any(map(is_finished, folder.iterdir()))):
            raise CheckpointMismatchError(
                f"{folder} is not the checkpoint of a search. Give checkpoint= a folder of its own."
            )
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileExistsError), replacing(about, new=True) as file:  # another search may begin at this moment
            file.write(json.dumps(now, indent=1).encode())
    check_identity(folder, _read(about), now, "search")
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
        saved = read_json(about, _LARGEST)
    except DamagedFileError as error:
        raise CheckpointMismatchError(f"{error} Delete its folder to start anew.") from error
    if not isinstance(saved, dict) or not all(isinstance(text, str) for text in saved.values()):
        raise CheckpointMismatchError(f"{about} does not say what it belongs to. Delete its folder to start anew.")
    return saved
