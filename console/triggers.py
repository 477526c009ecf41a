"""`runstream triggers apply`, `list`, `show`, `pause`, `resume`, `remove`, `lint`, `test`."""

from __future__ import annotations

import difflib
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from console import endpoints, terminal, trigger_trial
from console.evaluating import evaluating
from console.exits import Exit, Failure
from console.options import Actor, Json, Reason, login
from console.text import count, one_line, plain

if TYPE_CHECKING:
    from authority.keys import PrivateKey
    from console.applied_files import Fault
    from console.trigger_files import TriggerFile
    from console.trigger_records import Known
    from runtime.settings import CommonSettings
    from streams.triggers import AnyTriggerCommand, Trigger

Place = Annotated[
    Path, typer.Argument(metavar="DIR|FILE", help="A trigger, or a folder of them; YAML or JSON.")
]
Name = Annotated[str, typer.Argument(metavar="NAME", help="The trigger.")]
Tenant = Annotated[
    str | None,
    typer.Option("--tenant", metavar="NAME", help="Whose; `default` if not given."),
]
_MAX_LINES: Final = 200


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Records of topics that start procedures.")
    for command in (apply, show, pause, resume, remove, lint):
        group.command()(command)
    group.command("list")(list_)
    group.command("test")(trigger_trial.test)
    app.add_typer(group, name="triggers")


@dataclass(frozen=True, slots=True)
class _Session:
    """The cluster, and who asks."""

    settings: CommonSettings
    key: PrivateKey | None
    tenant: str
    actor: str

    def send(self, command: AnyTriggerCommand) -> None:
        """Return when a router has followed it; raises Failure."""
        from console import starter_commands, trigger_records
        from streams.procedures import record_key

        key = record_key(self.tenant, command.name)
        starter_commands.send(self.settings, trigger_records.TOPICS, key, command, self.key)

    def read(self) -> dict[str, Known]:
        """The triggers of the tenant by name."""
        from console import trigger_records

        return trigger_records.read(self.settings, self.tenant)


def lint(place: Place, as_json: Json = False) -> None:
    """Check a trigger, or every one of a folder; exit code 1 where one is wrong.

    Needs neither Kafka nor a database.
    """
    found, faults = _checked(place)
    if as_json:
        terminal.data([asdict(fault) for fault in faults])
    else:
        _say(faults)
    if faults:
        raise Failure(f"{count(len(faults), 'problem')} in {place}", Exit.FAILED)
    if not as_json:
        terminal.say(f"{count(len(found), 'trigger')} without a problem", "green")


def apply(
    place: Place,
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    prune: Annotated[
        bool, typer.Option("--prune", help="Remove what is applied and not in the folder.")
    ] = False,
    again: Annotated[
        bool,
        typer.Option("--again", help="Apply what has not changed too, with a signature of now."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the triggers of the cluster those of a folder; the differences are shown first.

    Records that are written after this has returned count. Executions have the rights of whoever
    signs this, as long as that key counts.
    """
    from streams.triggers import ApplyTrigger, RemoveTrigger

    found, faults = _checked(place)
    if faults:
        _say(faults)
        raise Failure(f"nothing was applied: {count(len(faults), 'problem')}", Exit.FAILED)
    if prune and not place.is_dir():
        raise Failure("--prune needs a folder", Exit.USAGE)
    session = _session(tenant, actor)
    there = session.read()
    _check_procedures(session, [one.trigger for one in found])
    written = [one for one in found if again or _differs(one.trigger, there.get(one.trigger.name))]
    names = {one.trigger.name for one in found}
    missing = [name for name in there if name not in names] if place.is_dir() else []
    _show_changes(written, there, missing, prune=prune)
    gone = missing if prune else []
    if (written or gone) and not yes:
        _ask()
    who: dict[str, Any] = {"tenant": session.tenant, "actor": session.actor}
    for one in written:
        session.send(ApplyTrigger(name=one.trigger.name, trigger=one.trigger, **who))
    for name in gone:
        session.send(RemoveTrigger(name=name, **who))
    unchanged = len(found) - len(written)
    if as_json:
        terminal.data(
            {
                "applied": [one.trigger.name for one in written],
                "removed": gone,
                "not_in_folder": [] if prune else missing,
                "unchanged": unchanged,
            }
        )
        return
    parts = (f"{len(written)} applied", f"{len(gone)} removed", f"{unchanged} unchanged")
    terminal.say(", ".join(parts), "green")


def list_(tenant: Tenant = None, as_json: Json = False) -> None:
    """List the triggers, what they do and what they have done."""
    found = _session(tenant, None).read()
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
    known = _find(_session(tenant, None).read(), name)
    document = known.document
    if as_json:
        terminal.data(document)
        return
    signed = "" if document["signed"] else " (not signed)"
    terminal.tell(f"{name}  {known.status}")
    terminal.tell(plain(f"  applied by {known.state.actor}{signed} at {document['applied_at']}"))
    if known.state.paused_reason:
        terminal.tell(plain(f"  paused: {known.state.paused_reason}"))
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
    for line in _yaml(_trigger(known)):
        terminal.tell(plain(line))


def pause(
    name: Name,
    reason: Reason = None,
    tenant: Tenant = None,
    actor: Actor = None,
) -> None:
    """Start nothing by this trigger; records that come meanwhile are not made up for."""
    from streams.triggers import PauseTrigger

    session = _session(tenant, actor)
    session.send(
        PauseTrigger(tenant=session.tenant, actor=session.actor, name=_name(name), reason=reason)
    )
    terminal.say(f"{name} is paused", "green")


def resume(name: Name, tenant: Tenant = None, actor: Actor = None) -> None:
    """Start by this trigger again, for the records that come from now on."""
    from streams.triggers import ResumeTrigger

    session = _session(tenant, actor)
    session.send(ResumeTrigger(tenant=session.tenant, actor=session.actor, name=_name(name)))
    terminal.say(f"{name} goes on", "green")


def remove(name: Name, tenant: Tenant = None, actor: Actor = None) -> None:
    """Remove a trigger; executions that it started go on."""
    from streams.triggers import RemoveTrigger

    session = _session(tenant, actor)
    session.send(RemoveTrigger(tenant=session.tenant, actor=session.actor, name=_name(name)))
    terminal.say(f"{name} is removed", "green")


def _session(tenant: str | None, actor: str | None) -> _Session:
    from console import signing
    from runtime.settings import CommonSettings

    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    whose = signing.tenant_of(key, tenant) or "default"
    return _Session(settings, key, whose, signing.actor_of(key, actor, login()))


def _checked(place: Path) -> tuple[list[TriggerFile], list[Fault]]:
    from console import trigger_files
    from runtime.settings import CommonSettings

    with evaluating():
        return trigger_files.read(place, endpoints.load(CommonSettings).topic_prefix)


def _check_procedures(session: _Session, triggers: list[Trigger]) -> None:
    """Raises Failure where inputs do not fit an applied procedure; says which is not there."""
    from console import procedure_records, trigger_files
    from processors.router.input_values import declarations

    procedures = procedure_records.read(session.settings, session.tenant)
    for trigger in triggers:
        applied = procedures.get(trigger.procedure)
        if applied is None:
            near = difflib.get_close_matches(trigger.procedure, procedures, n=1)
            hint = f"did you mean {near[0]}?" if near else "apply it before a record comes"
            text = f"{trigger.name}: there is no procedure {trigger.procedure!r} yet; {hint}"
            terminal.say(plain(text), "yellow")
            continue
        with evaluating():
            declared = declarations(applied.plan.get("inputs"))
            if isinstance(declared, list):
                continue  # By another version; the router says what it makes of it.
            problems = trigger_files.input_problems(trigger, declared)
        if problems:
            first = problems[0]
            raise Failure(
                f"nothing was applied: {trigger.name}: {first.field}: {first.message}", Exit.FAILED
            )


def _differs(trigger: Trigger, known: Known | None) -> bool:
    return known is None or known.state.trigger != trigger


def _find(found: dict[str, Known], name: str) -> Known:
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"did you mean {near[0]}?" if near else "runstream triggers list"
    raise Failure(f"there is no trigger {name!r}", Exit.USAGE, hint)


def _name(name: str) -> str:
    import re

    from streams.started import STARTER_NAME

    if re.fullmatch(STARTER_NAME, name) is None:
        raise Failure(f"{name!r} is no name of a trigger", Exit.USAGE, "runstream triggers list")
    return name


def _trigger(known: Known) -> Trigger:
    trigger = known.state.trigger
    assert trigger is not None  # removed ones are not read  # noqa: S101
    return trigger


def _say(faults: list[Fault]) -> None:
    for fault in faults:
        where = f"{fault.file}: {fault.field}" if fault.field else fault.file
        terminal.say(plain(f"{where}: {fault.message}"), "red")


def _show_changes(
    written: list[TriggerFile], there: dict[str, Known], missing: list[str], *, prune: bool
) -> None:
    for one in written:
        before = there.get(one.trigger.name)
        old = [] if before is None else _yaml(_trigger(before))
        was = "nothing" if before is None else "applied"
        lines = list(
            difflib.unified_diff(
                old, _yaml(one.trigger), f"{one.trigger.name} ({was})", one.file, lineterm=""
            )
        )
        for line in lines[:_MAX_LINES]:
            terminal.say(plain(line), {"+": "green", "-": "red"}.get(line[:1], "dim"))
        if len(lines) > _MAX_LINES:
            terminal.say(f"... {len(lines) - _MAX_LINES} more lines", "dim")
    for name in missing:
        what = "is removed" if prune else "stays; --prune removes it"
        terminal.say(plain(f"{name} is not in the folder: it {what}"), "yellow")


def _ask() -> None:
    if not sys.stdin.isatty():
        raise Failure("nothing was applied: there is nobody to ask", Exit.USAGE, "apply with --yes")
    if not typer.confirm("apply this?", err=True):
        raise Failure("nothing was applied", Exit.FAILED)


def _yaml(trigger: Trigger) -> list[str]:
    import yaml

    told = trigger.model_dump(mode="json", exclude_unset=True, exclude_none=True)
    text: str = yaml.safe_dump(told, sort_keys=False, allow_unicode=True, width=100)
    return text.splitlines()
