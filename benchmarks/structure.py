"""Sizes of the package's source: constructors, shells, functions, modules, and circles of imports between folders.

    python -m benchmarks.structure [CHECKOUT ...]

A line counts where it holds code: not docstrings, comments and blanks. Trees of several checkouts stand side by side.
"""

import ast
import io
import json
import os
import statistics
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_LAYOUT = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
_CONSTRUCTORS = """
import inspect, json, skvardict
classes = {name: getattr(skvardict, name) for name in skvardict.__all__}
print(json.dumps({n: len(inspect.signature(c).parameters) for n, c in classes.items() if isinstance(c, type)}))
"""
_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)


class Module(NamedTuple):
    """A source file."""

    name: str
    tree: ast.Module
    lines: set[int]  # with code


def read(path: Path, root: Path) -> Module:
    text = path.read_text()
    tree = ast.parse(text)
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in _LAYOUT:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and ast.get_docstring(node) is not None:
            lines -= set(range(node.body[0].lineno, (node.body[0].end_lineno or 0) + 1))
    return Module(path.relative_to(root).as_posix(), tree, lines)


def functions(module: Module) -> Iterator[tuple[str, int]]:
    """Yield name and lines of every function."""
    for node in ast.walk(module.tree):
        if isinstance(node, _FUNCTIONS):
            yield f"{module.name}:{node.name}", len(module.lines & set(range(node.lineno, (node.end_lineno or 0) + 1)))


def text_of_parameters(module: Module) -> int:
    """Return the lines of code that are documentation: kind and text of parameters that are fields."""
    calls = [node for node in ast.walk(module.tree) if isinstance(node, ast.Call)]
    texts = [
        keyword.value
        for call in calls
        if isinstance(call.func, ast.Name) and call.func.id == "parameter"
        for keyword in call.keywords
        if keyword.arg in ("kind", "text")
    ]
    return sum((text.end_lineno or 0) - text.lineno + 1 for text in texts)


def imports(modules: list[Module]) -> dict[str, set[str]]:
    """Return which folders a folder imports when it runs; a module beside the folders counts as one."""
    found: dict[str, set[str]] = {}
    for module in modules:
        skipped = {
            id(inner)
            for node in ast.walk(module.tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
            for inner in ast.walk(node)
        }
        names = [
            name
            for node in ast.walk(module.tree)
            if id(node) not in skipped
            for name in (
                [alias.name for alias in node.names]
                if isinstance(node, ast.Import)
                else [node.module if node.module != "skvardict" else f"skvardict.{alias.name}" for alias in node.names]
                if isinstance(node, ast.ImportFrom) and node.module
                else []
            )
        ]
        here = module.name.split("/")[1].removesuffix(".py")
        targets = {name.split(".")[1] for name in names if name and name.startswith("skvardict.")}
        found.setdefault(here, set()).update(targets - {here})
    return found


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Return the groups of folders that reach each other."""

    def reached(start: str) -> set[str]:
        seen, ahead = set(), [start]
        while ahead:
            new = graph.get(ahead.pop(), set()) - seen
            seen |= new
            ahead += new
        return seen

    reach = {folder: reached(folder) for folder in graph}
    groups = {frozenset(b for b in graph if b in reach[a] and a in reach[b]) for a in graph if a in reach[a]}
    return [sorted(group) for group in groups]


def measure(root: Path) -> dict[str, object]:
    modules = [read(path, root) for path in sorted((root / "skvardict").rglob("*.py"))]
    sizes = {module.name: len(module.lines) for module in modules}
    raw = {module.name: len((root / module.name).read_text().splitlines()) for module in modules}
    found = [size for module in modules for size in functions(module)]
    lengths = [length for _, length in found]
    shells = [f"skvardict/estimators/{name}.py" for name in ("dictionary", "variational")]
    base = "skvardict/estimators/_base.py"
    environment = {**os.environ, "PYTHONPATH": str(root)}
    made = subprocess.run(
        [sys.executable, "-c", _CONSTRUCTORS], cwd=root, env=environment, capture_output=True, text=True, check=True
    )
    longest, biggest = max(found, key=lambda item: item[1]), max(sizes, key=lambda name: sizes[name])
    rows: dict[str, object] = {f"parameters, {name}": count for name, count in json.loads(made.stdout).items()}
    return {
        **rows,
        "shells (two files), all lines": sum(raw[name] for name in shells),
        "shells (two files), code": sum(sizes[name] for name in shells),
        "_base.py, all lines": raw[base],
        "_base.py, code": sizes[base],
        "functions": len(found),
        "function, median": statistics.median(lengths),
        "function, 95th percentile": statistics.quantiles(lengths, n=20)[-1],
        "function, longest": longest[1],
        "longest function": longest[0].removeprefix("skvardict/"),
        "largest module, code": sizes[biggest],
        "largest module": biggest.removeprefix("skvardict/"),
        "modules": len(modules),
        "package, code": sum(sizes.values()),
        "package, code without text of parameters": sum(sizes.values()) - sum(map(text_of_parameters, modules)),
        "circles between folders": "; ".join(", ".join(group) for group in circles(imports(modules))) or 0,
    }


def main() -> None:
    roots = [Path(argument).resolve() for argument in sys.argv[1:]] or [Path(__file__).resolve().parents[1]]
    results = [measure(root) for root in roots]
    names = list(dict.fromkeys(name for result in results for name in result))
    print("| | " + " | ".join(root.name for root in roots) + " |\n|---|" + "--:|" * len(roots))
    for name in names:
        print(f"| {name} | " + " | ".join(str(result.get(name, "")) for result in results) + " |")


if __name__ == "__main__":
    main()
