"""What code says, without where it stands: the same function at another line, or in another process, reads the same."""

import inspect
import sys
from dis import get_instructions
from pathlib import PurePath
from types import CodeType

# Known by their versions even where they are installed from a folder of sources.
_KNOWN = {"joblib", "numpy", "pandas", "polars", "scipy", "sklearn", "skvardict", "torch"}
# Of the others, one says whether a function is defined within another, and some where its module imports from.
_FLAGS = (
    inspect.CO_VARARGS
    | inspect.CO_VARKEYWORDS
    | inspect.CO_GENERATOR
    | inspect.CO_COROUTINE
    | inspect.CO_ITERABLE_COROUTINE
    | inspect.CO_ASYNC_GENERATOR
)
_LOADS_GLOBAL = {"LOAD_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"}


def is_installed(module: str | None) -> bool:
    """Return whether `module` belongs to Python or to an installed package: its version says what it does."""
    package = str(module).partition(".")[0]
    if package in ("__main__", "__mp_main__"):  # its file may be that of a tool which runs the user's code
        return False
    if package in _KNOWN or package in sys.stdlib_module_names:
        return True
    file = getattr(sys.modules.get(package), "__file__", None)
    return file is not None and not {"site-packages", "dist-packages"}.isdisjoint(PurePath(file).parts)


def package_version(module: str | None) -> str:
    """Return the version of the package that `module` belongs to; empty where it does not say one."""
    return str(getattr(sys.modules.get(str(module).partition(".")[0]), "__version__", ""))


def code_content(code: CodeType) -> tuple:
    """Return instructions, constants and names as plain values; lines, file names and annotations are not in it."""
    return (
        code.co_code,
        code.co_exceptiontable,
        code.co_flags & _FLAGS,
        (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount),
        (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars),
        tuple(code_content(entry) if isinstance(entry, CodeType) else entry for entry in code.co_consts),
    )


def global_names(code: CodeType) -> list[str]:
    """Return the global names that `code` and the functions within it read, sorted."""
    steps = (step for part in _all_code(code) for step in get_instructions(part))
    names = {str(step.argval) for step in steps if step.opname in _LOADS_GLOBAL}
    return sorted(name for name in names if not name.startswith("__"))


def all_names(code: CodeType) -> set[str]:
    """Return all names of globals and attributes in `code` and the functions within it."""
    return {name for part in _all_code(code) for name in part.co_names}


def _all_code(code: CodeType) -> list[CodeType]:
    within = [entry for entry in code.co_consts if isinstance(entry, CodeType)]
    return [code, *(part for entry in within for part in _all_code(entry))]
