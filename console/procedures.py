"""`runstream procedures apply`, `list`, `show` and `lint`: the library of plans."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import applying, catalogue, session, terminal
from console.evaluating import evaluating
from console.exits import Exit, Failure
from console.options import Actor, Again, Json, Prune, Tenant, Yes
from reading.text import one_line, plain

if TYPE_CHECKING:
    from console.applied_files import Fault
    from console.procedure_files import ProcedureFile
    from reading.procedures import Applied
    from streams.inputs import Input

Folder = Annotated[
    Path, typer.Argument(metavar="DIR", help="The folder; its files are YAML or JSON.")
]


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
    applying.lint(folder, "procedure", *_checked(folder), as_json=as_json)


def apply(
    folder: Folder,
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Yes = False,
    prune: Prune = False,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Make the procedures of the cluster those of a folder; the differences are shown first.

    A request that is sent after this has returned finds what was applied. What is not in the folder
    any more is reported, and stays unless --prune is given.
    """
    from console import procedure_records
    from streams.procedures import ProcedureRecord

    found, faults = _checked(folder)
    applying.refuse(faults)
    asking = session.begin(tenant, actor)
    there = procedure_records.read(asking.settings, asking.tenant)
    changes = changes_of(found, there, again=again)
    removed = changes.removed if prune else []
    _show(changes, there, prune=prune)
    if (changes.written or removed) and not yes:
        applying.ask("apply this?", "nothing was applied")
    who = asking.actor
    records = [
        ProcedureRecord(
            tenant=asking.tenant, name=one.name, version=one.version, actor=who, plan=one.plan
        )
        for one in changes.written
    ]
    gone = {"plan": None, "actor": who}
    records += [applied.record.model_copy(update=gone) for applied in removed]
    procedure_records.put(asking.settings, records, asking.key)
    missing = [one.record.name for one in changes.removed]
    result = applying.Result(
        applied=[one.name for one in changes.written],
        removed=missing if prune else [],
        not_in_folder=[] if prune else missing,
        unchanged=changes.unchanged,
    )
    applying.report(result, "procedure", as_json=as_json)


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
    applied = applying.find(_read(tenant), name, "procedure")
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
    for line in applying.yaml_lines(applied.plan):
        terminal.tell(plain(line))


def _read(tenant: str | None) -> dict[str, Applied]:
    from console import procedure_records

    asking = session.begin(tenant)
    return procedure_records.read(asking.settings, asking.tenant)


def _checked(folder: Path) -> tuple[list[ProcedureFile], list[Fault]]:
    """The procedures of a folder, and what is wrong with its files."""
    from console.procedure_files import read_folder

    with evaluating():
        return read_folder(folder, catalogue.load())


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


def _show(changes: Changes, there: dict[str, Applied], *, prune: bool) -> None:
    for one in changes.written:
        before = there.get(one.name)
        was = "nothing" if before is None else f"version {before.record.version}"
        applying.show_difference(
            f"{one.name} ({was})", f"{one.file} ({one.version})",
            None if before is None else before.plan, one.plan,
        )  # fmt: skip
    missing = [f"{one.record.name} (version {one.record.version})" for one in changes.removed]
    applying.show_missing(missing, prune=prune)
