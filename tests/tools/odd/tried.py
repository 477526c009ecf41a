"""Which tests try which odd inputs of which tools, as their marks say; nothing is run for it."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

_TESTS: Final = Path(__file__).parents[2]
#: A mark is written as one of these.
_WRITTEN: Final = ("mark.tried(", "over_every(")


@dataclass(frozen=True)
class Tried:
    """One mark: the test, and what it tries."""

    test: str
    tools: tuple[str, ...]
    inputs: tuple[str, ...]


def tried() -> list[Tried]:
    """Every mark of every test."""
    return [
        Tried(f"{module.__name__}.{name}", mark.args, mark.kwargs["inputs"])
        for module in _modules()
        for name, test in vars(module).items()
        if name.startswith("test_")
        for mark in getattr(test, "pytestmark", ())
        if mark.name == "tried"
    ]


def _modules() -> Iterator[Any]:
    for file in sorted(_TESTS.rglob("test_*.py")):
        if any(word in file.read_text(encoding="utf-8") for word in _WRITTEN):
            parts = file.relative_to(_TESTS.parent).with_suffix("").parts
            yield importlib.import_module(".".join(parts))
