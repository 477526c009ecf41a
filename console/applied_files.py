"""The files of what is applied from a folder in git, and what is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

from console.exits import Exit, Failure

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

MAX_FILES: Final = 5_000
_SUFFIXES: Final = frozenset({".yaml", ".yml", ".json"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a file, and what to do about it."""

    file: str
    field: str
    message: str


class AppliedFile(Protocol):
    """A file that was read."""

    @property
    def file(self) -> str:
        """Its name, as it is shown."""

    @property
    def name(self) -> str:
        """The name of what it holds."""


F = TypeVar("F", bound=AppliedFile)


def files_of(folder: Path, what: str) -> list[Path]:
    """Every file below the folder that may hold one; raises Failure where there is none.

    `what` is what the files hold, such as `procedure`.
    """
    if not folder.is_dir():
        raise Failure(f"{folder} is no folder", Exit.USAGE, f"name the folder of the {what}s")
    found: list[Path] = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += (
            Path(place, name)
            for name in sorted(names)
            if not name.startswith(".") and Path(name).suffix in _SUFFIXES
        )
        if len(found) > MAX_FILES:
            raise Failure(f"{folder} has more than {MAX_FILES} files", Exit.USAGE)
    if not found:
        raise Failure(f"{folder} has no {what}: no file ends in .yaml, .yml or .json", Exit.USAGE)
    return found


def below(folder: Path, what: str) -> dict[str, Path]:
    """Every file below the folder, by its name from there on; raises Failure."""
    return {path.relative_to(folder).as_posix(): path for path in files_of(folder, what)}


def named(place: Path, what: str) -> dict[str, Path]:
    """The same of a folder, or one file; raises Failure."""
    if place.is_dir():
        return below(place, what)
    if not place.exists():
        raise Failure(f"{place} does not exist", Exit.USAGE, f"name a file or folder of {what}s")
    return {place.name: place}


def read_each(
    paths: Mapping[str, Path], read: Callable[[Path, str], F | list[Fault]]
) -> tuple[list[F], list[Fault]]:
    """What the files hold, by name, and everything that is wrong with them."""
    found: dict[str, F] = {}
    faults: list[Fault] = []
    for shown, path in paths.items():
        one = read(path, shown)
        if isinstance(one, list):
            faults += one
        elif one.name in found:
            message = f"{one.name} is the name of {found[one.name].file} too; names must be unique"
            faults.append(Fault(shown, "name", message))
        else:
            found[one.name] = one
    return [found[name] for name in sorted(found)], faults


def sentence(error: ErrorDetails, fields: Collection[str]) -> str:
    """What is wrong with a field, in words of whoever writes the file; `fields` are those known."""
    from difflib import get_close_matches

    if error["type"] == "extra_forbidden":
        near = get_close_matches(str(error["loc"][-1]), fields, n=1)
        hint = f"did you mean {near[0]}?" if near else "take it out"
        return f"there is no such field; {hint}"
    if error["type"] == "missing":
        return "it is required"
    return error["msg"]
