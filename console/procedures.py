"""`runstream procedures apply`, `list`, `show` and `lint`: the library of plans."""

from __future__ import annotations

import difflib
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from console import catalogue, endpoints, terminal
from console.exits import Exit, Failure
from console.options import Actor, Json, login
from console.text import count, one_line, plain

if TYPE_CHECKING:
    from console.applied_files import Fault
    from console.procedure_files import ProcedureFile
    from console.procedure_records import Applied
    from streams.inputs import Input

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder; its files are YAML or JSON.")
]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Whose; `default` if not given."),
]
#: Lines of a difference that are shown of one procedure.
_MAX_LINES: Final = 200


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Plans that requests run by name.")
    group.command()(apply)
    group.command("list")(list_)
    group.command()(show)
    group.command()(lint)
    app.add_typer(group, name="procedures")


@dataclass(frozen=True, slots=True)
class Changes:
    """What an apply would do."""

    written: list[ProcedureFile]
    removed: list[Applied]
    unchanged: int


def lint(folder: Folder, as_json: Json = False) -> None:
    """Check every file of a folder as the router would; exit code 1 where one is wrong.

    Needs neither Kafka nor a database.
    """
    found, faults = _checked(folder)
    if as_json:
        terminal.data([asdict(fault) for fault in faults])
    else:
        _say(faults)
    if faults:
        raise Failure(f"{count(len(faults), 'problem')} in {folder}", Exit.FAILED)
    if not as_json:
        terminal.say(f"{count(len(found), 'procedure')} without a problem", "green")


def apply(
    folder: Folder,
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what is applied and not in the folder.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Write what has not changed too, with a signature of now."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the procedures of the cluster those of a folder; the differences are shown first.

    A request that is sent after this has returned finds what was applied. What is not in the folder
    any more is reported, and stays unless --prune is given.
    """
    from console import procedure_records, signing
    from runtime.settings import CommonSettings
    from streams.procedures import ProcedureRecord

    found, faults = _checked(folder)
    if faults:
        _say(faults)
        raise Failure(f"nothing was applied: {count(len(faults), 'problem')}", Exit.FAILED)
    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    whose = signing.tenant_of(key, tenant) or "default"
    who = signing.actor_of(key, actor, login())
    there = procedure_records.read(settings, whose)
    changes = changes_of(found, there, again=again)
    removed = changes.removed if prune else []
    _show(changes, there, prune=prune)
    if (changes.written or removed) and not yes:
        _ask()
    records = [
        ProcedureRecord(tenant=whose, name=one.name, version=one.version, actor=who, plan=one.plan)
        for one in changes.written
    ]
    gone = {"plan": None, "actor": who}
    records += [applied.record.model_copy(update=gone) for applied in removed]
    procedure_records.put(settings, records, key)
    written = [one.name for one in changes.written]
    pruned = [one.record.name for one in removed]
    if as_json:
        left = [] if prune else [one.record.name for one in changes.removed]
        terminal.data(
            {
                "applied": written,
                "removed": pruned,
                "not_in_folder": left,
                "unchanged": changes.unchanged,
            }
        )
        return
    parts = [f"{len(written)} applied", f"{len(pruned)} removed", f"{changes.unchanged} unchanged"]
    terminal.say(", ".join(parts), "green")


def changes_of(
    found: list[ProcedureFile], there: dict[str, Applied], *, again: bool = False
) -> Changes:
    """What the folder would change; raises Failure where a version would mean two things.

    `again` writes the others too: the key that signed them may not count any more.
    """
    written: list[ProcedureFile] = []
    for one in found:
        before = there.get(one.name)
        same = before is not None and before.digest == one.digest
        if same and not again:
            continue
        if before is not None and not same and before.record.version == one.version:
            raise Failure(
                f"{one.file}: {one.name} has changed, and its version is still {one.version}",
                Exit.FAILED,
                "give it another version: what ran is told by it",
            )
        written.append(one)
    names = {one.name for one in found}
    removed = [applied for name, applied in there.items() if name not in names]
    return Changes(written, removed, len(found) - len(written))


def list_(tenant: Tenant = None, as_json: Json = False) -> None:
    """List what is applied."""
    found = _read(tenant)
    if as_json:
        terminal.data([_document(applied) for applied in found.values()])
        return
    if not found:
        terminal.say("no procedure is applied", "green")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("NAME", "VERSION", "APPLIED BY", "INPUTS", "DESCRIPTION"):
        table.add_column(column, overflow="fold")
    for name, applied in found.items():
        record = applied.record
        about = one_line(str(applied.plan.get("description") or ""), 60)
        cells = (name, record.version, _who(applied), ", ".join(_inputs(applied)), about)
        table.add_row(*(Text(plain(cell)) for cell in cells))
    terminal.out().print(table)


def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The procedure.")],
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Show one procedure: its inputs, and its plan as it was applied."""
    applied = find(_read(tenant), name)
    if as_json:
        terminal.data(_document(applied) | {"plan": applied.plan})
        return
    from rich.table import Table
    from rich.text import Text

    out = terminal.out()
    record = applied.record
    out.print(Text(f"{record.name}  version {record.version}", style="bold"))
    out.print(Text(f"  applied by {plain(_who(applied))}, digest {applied.digest}", style="dim"))
    inputs = _inputs(applied)
    if inputs:
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
        for column in ("INPUT", "TYPE", "DEFAULT", "DESCRIPTION"):
            table.add_column(column, overflow="fold")
        for key, one in inputs.items():
            kind = "secret" if one.secret else one.type
            default = (
                "required" if one.must_be_given else json.dumps(one.default, ensure_ascii=False)
            )
            cells = (key, kind, default, one.description or "")
            table.add_row(*(Text(plain(cell)) for cell in cells))
        out.print(table)
    for line in _yaml(applied.plan):
        terminal.tell(plain(line))


def find(found: dict[str, Applied], name: str) -> Applied:
    """The procedure of this name; raises Failure with what may have been meant."""
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"did you mean {near[0]}?" if near else "runstream procedures list"
    raise Failure(f"there is no procedure {name!r}", Exit.USAGE, hint)


def _read(tenant: str | None) -> dict[str, Applied]:
    from console import procedure_records, signing
    from runtime.settings import CommonSettings

    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    return procedure_records.read(settings, signing.tenant_of(key, tenant) or "default")


def _checked(folder: Path) -> tuple[list[ProcedureFile], list[Fault]]:
    """The procedures of a folder, and what is wrong with its files."""
    from console.procedure_files import read_folder
    from runtime.cel import expressions
    from runtime.cel.worker import Worker

    worker = Worker()
    expressions.evaluate_by(worker)
    try:
        return read_folder(folder, catalogue.load())
    finally:
        worker.close()


def _inputs(applied: Applied) -> dict[str, Input]:
    from pydantic import TypeAdapter, ValidationError

    from streams.inputs import Inputs

    adapter: TypeAdapter[dict[str, Input]] = TypeAdapter(Inputs)
    try:
        return adapter.validate_python(applied.plan.get("inputs") or {})
    except ValidationError:
        return {}  # By another version; the router says what it makes of it.


def _who(applied: Applied) -> str:
    return applied.record.actor if applied.signed else f"{applied.record.actor} (not signed)"


def _document(applied: Applied) -> dict[str, Any]:
    record = applied.record
    return {
        "name": record.name,
        "version": record.version,
        "digest": applied.digest,
        "applied_by": record.actor,
        "signed": applied.signed,
        "description": applied.plan.get("description"),
        "inputs": applied.plan.get("inputs") or {},
    }


def _say(faults: list[Fault]) -> None:
    for fault in faults:
        where = f"{fault.file}: {fault.field}" if fault.field else fault.file
        terminal.say(plain(f"{where}: {fault.message}"), "red")


def _show(changes: Changes, there: dict[str, Applied], *, prune: bool) -> None:
    for one in changes.written:
        before = there.get(one.name)
        old = [] if before is None else _yaml(before.plan)
        was = "nothing" if before is None else f"version {before.record.version}"
        lines = list(
            difflib.unified_diff(
                old, _yaml(one.plan), f"{one.name} ({was})", f"{one.file} ({one.version})",
                lineterm="",
            )
        )  # fmt: skip
        for line in lines[:_MAX_LINES]:
            colour = {"+": "green", "-": "red"}.get(line[:1], "dim")
            terminal.say(plain(line), colour)
        if len(lines) > _MAX_LINES:
            terminal.say(f"... {len(lines) - _MAX_LINES} more lines", "dim")
    for applied in changes.removed:
        record = applied.record
        what = "is removed" if prune else "stays; --prune removes it"
        text = f"{record.name} (version {record.version}) is not in the folder: it {what}"
        terminal.say(plain(text), "yellow")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise Failure("nothing was applied: there is nobody to ask", Exit.USAGE, "apply with --yes")
    if not typer.confirm("apply this?", err=True):
        raise Failure("nothing was applied", Exit.FAILED)


def _yaml(plan: dict[str, Any]) -> list[str]:
    import yaml

    text: str = yaml.safe_dump(plan, sort_keys=False, allow_unicode=True, width=100)
    return text.splitlines()
