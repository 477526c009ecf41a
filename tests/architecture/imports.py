"""The import statements of the repository, read from its source without importing anything."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: The packages of the product.
PACKAGES = ("streams", "toolmeta", "authority", "drivers", "processors", "sinks", "runtime",
            "devstack", "console", "reading", "api", "web", "ddl")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Import:
    """`import module`, or `from module import name`."""

    module: str
    name: str = ""


@functools.cache
def parsed(path: Path) -> ast.Module:
    """The syntax tree of a file, which nobody changes."""
    return ast.parse(path.read_text("utf-8"))


def modules(root: Path, packages: tuple[str, ...]) -> dict[str, Path]:
    """Every module of the packages, by its dotted name."""
    found: dict[str, Path] = {}
    for package in packages:
        for path in sorted((root / package).rglob("*.py")):
            parts = path.relative_to(root).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


@functools.cache
def imports_of(name: str, path: Path) -> tuple[Import, ...]:
    """Every import of the module, also inside functions and for type checkers only."""
    return tuple(_imports(name, path))


def _imports(name: str, path: Path) -> Iterator[Import]:
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = node.module or ""
            if node.level:
                base = package.split(".")[: len(package.split(".")) - node.level + 1]
                module = ".".join([*base, *([node.module] if node.module else [])])
            yield from (Import(module, alias.name) for alias in node.names)
