"""`runstream tools new` and `lint`: definitions of one's own."""

from __future__ import annotations

import os
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from console import terminal
from console.exits import Exit, Failure
from console.options import Json
from reading.text import count, one_line

if TYPE_CHECKING:
    from toolmeta.registry import Registry

_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
#: Characters of a fault that are shown; --json has all.
_LONGEST: Final = 2_000
_ENDINGS: Final = {"sh": "sh", "bash": "bash", "python3": "py", "pwsh": "ps1"}


def register(group: typer.Typer) -> None:
    """Add the commands to `runstream tools`."""
    group.command()(new)
    group.command()(lint)


def new(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Lower case, digits and _.")],
    folder: Annotated[
        Path | None,
        typer.Argument(metavar="[DIR]", help="Default: the first of RUNSTREAM_TOOLS_PATH."),
    ] = None,
    domain: Annotated[
        str, typer.Option("--domain", metavar="NAME", help="Which executors run it.")
    ] = "automation",
    script: Annotated[
        str | None,
        typer.Option(
            "--script", metavar="INTERPRETER", help="For a script: sh, bash, python3, pwsh."
        ),
    ] = None,
) -> None:
    """Write a definition with comments, which is right and runs as it is."""
    from console import own_tool_texts
    from toolmeta.own_tools import OWN_DOMAINS

    if not _NAME.fullmatch(name):
        hint = "1 to 64 lower case letters, digits and _, a letter first: restart_shop"
        raise Failure(f"{name!r} is no name of a tool", Exit.USAGE, hint)
    if domain not in OWN_DOMAINS:
        hint = f"one of {', '.join(sorted(OWN_DOMAINS))}"
        raise Failure(f"{domain!r} is no domain", Exit.USAGE, hint)
    if script is not None and script not in _ENDINGS:
        raise Failure(f"{script!r} is no interpreter", Exit.USAGE, f"one of {', '.join(_ENDINGS)}")
    place = folder or _first()
    taken = _registry(place).get(name)
    if taken is not None:
        raise Failure(
            f"{name} is a tool already: {taken.description.splitlines()[0]}",
            Exit.USAGE, f"choose another name; runstream tools show {name}",
        )  # fmt: skip
    texts = {f"{name}.yaml": own_tool_texts.program(name, domain)}
    if script is not None:
        file = f"{name}.{_ENDINGS[script]}"
        texts = {
            file: own_tool_texts.SCRIPTS[script],
            f"{name}.yaml": own_tool_texts.script(name, domain, script, file),
        }
    for path in _write(place / domain, texts):
        terminal.tell(str(path))
    terminal.say(f"now: runstream tools lint {place}", "dim")


def _folders() -> tuple[Path, ...]:
    from toolmeta.definitions import CatalogueError
    from toolmeta.own_tools import SETTING, folders_of

    try:
        return folders_of(os.environ.get(SETTING))
    except CatalogueError as error:
        raise Failure(str(error), Exit.USAGE) from None


def _first() -> Path:
    from toolmeta.own_tools import SETTING

    found = _folders()
    if not found:
        hint = f"runstream tools new NAME DIR, or set {SETTING}"
        raise Failure("it is not known where to write it", Exit.USAGE, hint)
    return found[0]


def _registry(place: Path) -> Registry:
    """The catalogue with the tools of this folder and of the setting's; raises Failure where one
    is wrong."""
    from toolmeta import definitions, registry
    from toolmeta.own_tools import OwnTools

    folders = {folder.resolve(): folder for folder in (*_folders(), place)}
    try:
        own = OwnTools(*folders.values())
        return registry.Registry(registry.load().all(), own=own)
    except definitions.CatalogueError as error:
        hint = f"runstream tools lint {place}"
        raise Failure(f"a definition there is wrong: {error}", Exit.FAILED, hint) from None


def _write(folder: Path, texts: dict[str, str]) -> list[Path]:
    """The files, which only their owner can write to, whatever the umask; none is replaced."""
    paths = [folder / name for name in texts]
    there = next((path for path in paths if path.exists()), None)
    if there is not None:
        raise Failure(f"{there} is there already", Exit.USAGE, "choose another name")
    try:
        for each in (folder.parent, folder):
            if not each.exists():
                each.mkdir(parents=True)
                each.chmod(0o755)
        for path, text in zip(paths, texts.values(), strict=True):
            with path.open("x", encoding="utf-8") as file:
                file.write(text)
            path.chmod(0o644)
    except OSError as error:
        message = f"{error.filename} cannot be written: {error.strerror}"
        raise Failure(message, Exit.FAILED) from None
    return paths


def lint(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH]...", help="Folders or files; else RUNSTREAM_TOOLS_PATH."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say everything that is wrong with definitions of your own. Exit code 1 where anything is."""
    from toolmeta import lint as linting
    from toolmeta.own_tools import SETTING

    places = paths or list(_folders())
    if not places:
        hint = f"runstream tools lint DIR, or set {SETTING}"
        raise Failure("there is nothing to look at", Exit.USAGE, hint)
    found = linting.lint(places)
    if as_json:
        terminal.data([asdict(fault) for fault in found.faults])
    else:
        for fault in found.faults:
            terminal.say(one_line(str(fault), _LONGEST), "red")
        looked = count(found.files, "definition")
        faults = f"{looked}, {count(len(found.faults), 'fault')}"
        terminal.say(faults, "red" if found.faults else "green")
    raise typer.Exit(Exit.FAILED if found.faults else Exit.OK)
