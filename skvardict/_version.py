"""The version, below everything that writes it into files, and where the documentation is."""

from functools import cache
from importlib.metadata import PackageNotFoundError, metadata

__version__ = "0.1.0"


@cache
def documentation_address() -> str:
    """Return the address of the site, which is "Documentation" in the metadata of the package; empty without one."""
    try:
        entries = metadata("skvardict").get_all("Project-URL") or []
    except PackageNotFoundError:  # run from a folder, without installation
        return ""
    addresses = dict(entry.split(", ", 1) for entry in entries)
    return addresses.get("Documentation", "")
