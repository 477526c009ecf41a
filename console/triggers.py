"""`runstream triggers apply`, `list`, `show`, `pause`, `resume`, `remove`, `lint`, `test`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console import applying, endpoints, session, terminal, trigger_trial
from console.evaluating import evaluating
from console.options import Actor, Again, Json, Prune, Reason, Tenant, Yes
from reading.text import one_line, plain

if TYPE_CHECKING:
    from console.applied_files import Fault
    from console.starter_files import StarterFile
    from console.trigger_records import Known
    from streams.triggers import Trigger

Place = Annotated[
    Path, typer.Argument(metavar="DIR|FILE", help="A folder or one file, of YAML or JSON.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The trigger.")]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Records of topics that start procedures.")
    for command in (apply, show, pause, resume, remove, lint):
        group.command()(command)
    group.command("list")(list_)
    group.command("test")(trigger_trial.test)
    app.add_typer(group, name="triggers")


def lint(place: Place, as_json: Json = False) -> None:
    """Check a trigger, or every one of a folder; exit code 1 where one is wrong.

    Needs neither Kafka nor a database, so it does not know the procedures.
    """
    applying.lint(place, "trigger", *_checked(place), as_json=as_json)


def apply(
    place: Place,
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Yes = False,
    prune: Prune = False,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Make the triggers of the cluster those of a folder; the differences are shown first.

    With one file only its trigger is changed. Records that are written after this has returned
    count. Executions have the rights of whoever signs this, as long as that key counts.
    """
    from console import starter_actions, trigger_files
    from console.trigger_records import TRIGGERS

    found, faults = _checked(place)
    applying.refuse(faults)
    options = starter_actions.Options(yes, prune, again, as_json)
    asking = session.begin(tenant, actor)
    starter_actions.apply(asking, TRIGGERS, place, found, trigger_files.against, options)


def list_(tenant: Tenant = None, as_json: Json = False) -> None:
    """List the triggers, what they do and what they have done."""
    found = _read(tenant)
    if as_json:
        terminal.data([known.document for known in found.values()])
        return
    if not found:
        terminal.say("no trigger is applied", "green")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("NAME", "STATUS", "TOPIC", "PROCEDURE", "STARTED", "DROPPED", "FAILED"):
        table.add_column(column, overflow="fold")
    for known in found.values():
        trigger, counts = _trigger(known), known.state.counts
        dropped = counts.get("repeated", 0) + counts.get("limited", 0)
        numbers = (counts.get("started", 0), dropped, counts.get("failed", 0))
        cells = (trigger.name, known.status, trigger.topic, trigger.procedure)
        table.add_row(*(Text(plain(str(cell))) for cell in (*cells, *numbers)))
    terminal.out().print(table)


def show(name: Name, tenant: Tenant = None, as_json: Json = False) -> None:
    """Show one trigger: as it was applied, what it started last, and what it failed on."""
    known = applying.find(_read(tenant), name, "trigger")
    document = known.document
    if as_json:
        terminal.data(document)
        return
    signed = "" if document["signed"] else " (not signed)"
    terminal.tell(f"{name}  {known.status}")
    terminal.tell(plain(f"  applied by {known.state.actor}{signed} at {document['applied_at']}"))
    if known.state.pause_reason:
        terminal.tell(plain(f"  paused: {known.state.pause_reason}"))
    counted = [f"{number} {what}" for what, number in known.state.counts.items()]
    if counted:
        terminal.tell(f"  {', '.join(counted)}")
    error = document["last_error"]
    if error is not None:
        terminal.tell(plain(f"  failed at {error['at']} on {error['record']}, {error['field']}:"))
        terminal.tell(plain(f"    {one_line(error['error'], 400)}"))
    for one in document["history"]:
        times = "" if one["count"] == 1 else f" ({one['count']} times)"
        ident = one["execution_id"] or ""
        terminal.tell(plain(f"  {one['at']}  {one['what']}{times}  {one['cause']}  {ident}"))
    from console.starter_actions import document as as_file

    for line in applying.yaml_lines(as_file(_trigger(known))):
        terminal.tell(plain(line))


def pause(
    name: Name,
    reason: Reason = None,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Start nothing by this trigger; records that come meanwhile are not made up for."""
    from console import starter_actions
    from console.trigger_records import TRIGGERS

    starter_actions.pause(session.begin(tenant, actor), TRIGGERS, name, reason, as_json=as_json)


def resume(name: Name, tenant: Tenant = None, actor: Actor = None, as_json: Json = False) -> None:
    """Start for the records that come from now on; those of the pause are not made up for."""
    from console import starter_actions
    from console.trigger_records import TRIGGERS

    starter_actions.resume(session.begin(tenant, actor), TRIGGERS, name, as_json=as_json)


def remove(
    name: Name,
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Forget a trigger; executions that it has started go on."""
    from console import starter_actions
    from console.trigger_records import TRIGGERS

    asking = session.begin(tenant, actor)
    starter_actions.remove(asking, TRIGGERS, name, yes=yes, as_json=as_json)


def _read(tenant: str | None) -> dict[str, Known]:
    from console import trigger_records

    return trigger_records.read(session.begin(tenant))


def _checked(place: Path) -> tuple[list[StarterFile[Trigger]], list[Fault]]:
    from console import trigger_files
    from runtime.settings import CommonSettings

    with evaluating():
        return trigger_files.read(place, endpoints.load(CommonSettings).topic_prefix)


def _trigger(known: Known) -> Trigger:
    trigger = known.state.trigger
    assert trigger is not None  # removed ones are not read  # noqa: S101
    return trigger
