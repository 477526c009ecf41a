"""What is applied from a folder in git: its faults, its differences, the question, the result."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import typer

from console import terminal
from console.exits import Exit, Failure
from reading.text import count, plain

if TYPE_CHECKING:
    from console.applied_files import Fault

T = TypeVar("T")
#: Lines of a difference that are shown of one file.
_MAX_LINES: Final = 200
#: Refusals and warnings that are shown of one apply.
MAX_SHOWN: Final = 20


@dataclass(frozen=True, slots=True)
class Result:
    """What an apply has done, by the names."""

    applied: list[str]
    removed: list[str]
    not_in_folder: list[str]
    unchanged: int
    #: Each with its name in front.
    refused: list[str] = field(default_factory=list)


def say(faults: Sequence[Fault], colour: str = "red") -> None:
    """Show faults, each with its file and field."""
    for fault in faults:
        where = f"{fault.file}: {fault.field}" if fault.field else fault.file
        terminal.say(plain(f"{where}: {fault.message}"), colour)


def lint(
    place: Path, what: str, found: Sequence[object], faults: Sequence[Fault], *, as_json: bool
) -> None:
    """Say what is wrong with files; raises Failure where something is."""
    if as_json:
        terminal.data([asdict(fault) for fault in faults])
    else:
        say(faults)
    if faults:
        raise Failure(f"{count(len(faults), 'problem')} in {place}", Exit.FAILED)
    if not as_json:
        terminal.say(f"{count(len(found), what)} without a problem", "green")


def refuse(faults: Sequence[Fault]) -> None:
    """Show faults that stand in the way of an apply; raises Failure where there are some."""
    if faults:
        say(faults)
        raise Failure(f"nothing was applied: {count(len(faults), 'problem')}", Exit.FAILED)


def show_difference(
    before: str, after: str, old: dict[str, Any] | None, new: dict[str, Any]
) -> None:
    """Show what changes; `before` and `after` say what the two are."""
    lines = list(
        difflib.unified_diff(
            [] if old is None else yaml_lines(old), yaml_lines(new), before, after, lineterm=""
        )
    )
    for line in lines[:_MAX_LINES]:
        terminal.say(plain(line), {"+": "green", "-": "red"}.get(line[:1], "dim"))
    if len(lines) > _MAX_LINES:
        terminal.say(f"... {len(lines) - _MAX_LINES} more lines", "dim")


def show_missing(names: Sequence[str], *, prune: bool) -> None:
    """Show what is applied and not in the folder."""
    what = "is removed" if prune else "stays; --prune removes it"
    for name in names:
        terminal.say(plain(f"{name} is not in the folder: it {what}"), "yellow")


def ask(question: str, otherwise: str) -> None:
    """Ask before something is done; raises Failure where the answer is no."""
    if not sys.stdin.isatty():
        raise Failure(f"{otherwise}: there is nobody to ask", Exit.USAGE, "repeat it with --yes")
    if not typer.confirm(question, err=True):
        raise Failure(otherwise, Exit.FAILED)


def report(result: Result, what: str, *, as_json: bool) -> None:
    """Say what an apply has done; raises Failure where something was refused."""
    if as_json:
        terminal.data(asdict(result))
    for text in result.refused[:MAX_SHOWN]:
        terminal.say(plain(text), "red")
    if result.refused:
        raise Failure(f"{count(len(result.refused), what)} refused", Exit.REJECTED)
    if not as_json:
        done = f"{len(result.applied)} applied, {len(result.removed)} removed"
        terminal.say(f"{done}, {result.unchanged} unchanged", "green")


def find(found: Mapping[str, T], name: str, what: str) -> T:
    """What is applied under this name; raises Failure with what may have been meant."""
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"did you mean {near[0]}?" if near else f"runstream {what}s list"
    raise Failure(f"there is no {what} {name!r}", Exit.USAGE, hint)


def yaml_lines(document: dict[str, Any]) -> list[str]:
    """A document as the lines of a file."""
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text.splitlines()
