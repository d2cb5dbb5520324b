"""Where data sets are looked for."""

import os
from pathlib import Path

from sklearn.datasets import get_data_home

VARIABLE = "SKVARDICT_DATA"


def shared_folder(*parts: str) -> Path | None:
    """Return a folder below the one that SKVARDICT_DATA names, None if that variable is not set."""
    root = os.environ.get(VARIABLE)
    return Path(root, *parts) if root else None


def cache_folder(*parts: str, data_home=None) -> Path:
    """Return a folder below the user's scikit-learn data home."""
    return Path(get_data_home(data_home), "skvardict", *parts)
