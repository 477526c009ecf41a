"""`runstream schedules apply`, `lint`, `list` and `show`: when procedures run by themselves."""

from __future__ import annotations

import difflib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from console import endpoints, schedule_actions, terminal
from console.exits import Exit, Failure
from console.options import Actor, Json, login
from console.schedule_options import ScheduleName, Tenant, asked
from console.text import count, plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    from console.applied_files import Fault
    from console.schedule_files import ScheduleFile
    from processors.schedules.commands import Command
    from processors.schedules.state import ScheduleState
    from runtime.settings import CommonSettings
    from streams.schedules import Schedule

Place = Annotated[
    Path, typer.Argument(metavar="DIR|FILE", help="A folder or one file, of YAML or JSON.")
]
#: Lines of a difference that are shown of one schedule, and refusals of one apply.
_MAX_LINES: Final = 100
_MAX_SHOWN: Final = 20


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Procedures that run by themselves, at times.")
    group.command()(apply)
    group.command("list")(list_)
    group.command()(show)
    schedule_actions.register(group)
    group.command()(lint)
    app.add_typer(group, name="schedules")


@dataclass(frozen=True, slots=True)
class Changes:
    """What an apply would do."""

    written: list[ScheduleFile]
    removed: list[ScheduleState]
    unchanged: int


def lint(place: Place, as_json: Json = False) -> None:
    """Check schedules as the router would; exit code 1 where one is wrong.

    Needs neither Kafka nor a database, so it does not know the procedures.
    """
    from console.schedule_files import read

    found, faults = read(place)
    if as_json:
        terminal.data([asdict(fault) for fault in faults])
    else:
        _say(faults, "red")
    if faults:
        raise Failure(f"{count(len(faults), 'problem')} in {place}", Exit.FAILED)
    if not as_json:
        terminal.say(f"{count(len(found), 'schedule')} without a problem", "green")


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
    """Make the schedules of the cluster those of a folder; the differences are shown first.

    With one file only its schedule is changed. What runs and waits is kept.
    """
    from console import schedule_records, signing
    from console.schedule_files import read
    from runtime.settings import CommonSettings
    from streams.schedules import ApplySchedule, RemoveSchedule

    found, faults = read(place)
    if faults:
        _say(faults, "red")
        raise Failure(f"nothing was applied: {count(len(faults), 'problem')}", Exit.FAILED)
    if prune and place.is_file():
        raise Failure("--prune is of a folder, and this is one file", Exit.USAGE)
    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    whose = signing.tenant_of(key, tenant) or "default"
    who = signing.actor_of(key, actor, login())
    _against_procedures(settings, whose, found)
    there = schedule_records.read(settings, whose)
    changes = changes_of(found, there, again=again)
    removed = changes.removed if prune else []
    _show_changes(changes, there, prune=prune, only=place.is_file())
    if (changes.written or removed) and not yes:
        asked("apply this?", "nothing was applied")
    commands: list[Command] = [
        ApplySchedule(tenant=whose, name=one.name, actor=who, schedule=one.schedule)
        for one in changes.written
    ]
    commands += [RemoveSchedule(tenant=whose, name=one.name, actor=who) for one in removed]
    answers = schedule_records.send(settings, commands, key)
    refused = [
        f"{command.name}: {answer.refused}"
        for command, answer in zip(commands, answers, strict=True)
        if answer.refused is not None
    ]
    _report(commands, refused, changes, prune=prune, as_json=as_json)


def _report(
    commands: Sequence[Command],
    refused: list[str],
    changes: Changes,
    *,
    prune: bool,
    as_json: bool,
) -> None:
    names = {text.partition(":")[0] for text in refused}
    done = [command for command in commands if command.name not in names]
    applied = [command.name for command in done if command.type == "apply"]
    removed = [command.name for command in done if command.type == "remove"]
    if as_json:
        left = [] if prune else [one.name for one in changes.removed]
        terminal.data(
            {
                "applied": applied,
                "removed": removed,
                "not_in_folder": left,
                "unchanged": changes.unchanged,
                "refused": refused,
            }
        )
    for text in refused[:_MAX_SHOWN]:
        terminal.say(plain(text), "red")
    if refused:
        raise Failure(f"{count(len(refused), 'schedule')} refused", Exit.REJECTED)
    if not as_json:
        parts = f"{len(applied)} applied, {len(removed)} removed, {changes.unchanged} unchanged"
        terminal.say(parts, "green")


def changes_of(
    found: Sequence[ScheduleFile], there: dict[str, ScheduleState], *, again: bool = False
) -> Changes:
    """What the files would change; `again` applies the others too."""
    written = [
        one
        for one in found
        if again or one.name not in there or there[one.name].schedule != one.schedule
    ]
    names = {one.name for one in found}
    removed = [state for name, state in there.items() if name not in names]
    return Changes(written, removed, len(found) - len(written))


def list_(tenant: Tenant = None, as_json: Json = False) -> None:
    """List the schedules: when each runs next, and how it ended last."""
    from console import schedule_view

    found = list(_read(tenant).values())
    if as_json:
        terminal.data([schedule_view.document(state, 1) for state in found])
    elif found:
        schedule_view.table(found)
    else:
        terminal.say("no schedule is applied", "green")


def show(
    name: ScheduleName,
    moments: Annotated[
        int, typer.Option("--next", metavar="N", min=0, max=1_000, help="So many next runs.")
    ] = 5,
    tenant: Tenant = None,
    as_json: Json = False,
) -> None:
    """Show one schedule: its next runs, what runs and waits, and what became of the last ones."""
    from console import schedule_view

    state = schedule_actions.find(_read(tenant), name)
    if as_json:
        terminal.data(schedule_view.document(state, moments))
    else:
        schedule_view.show(state, moments)


def _read(tenant: str | None) -> dict[str, ScheduleState]:
    from console import schedule_records, signing
    from runtime.settings import CommonSettings

    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    return schedule_records.read(settings, signing.tenant_of(key, tenant) or "default")


def _against_procedures(settings: CommonSettings, tenant: str, found: list[ScheduleFile]) -> None:
    """Refuse inputs that the procedures do not take, and warn of procedures that are not there."""
    from console import procedure_records
    from console.schedule_files import against
    from runtime.cel import expressions
    from runtime.cel.worker import Worker

    worker = Worker()
    expressions.evaluate_by(worker)
    try:
        faults, doubts = against(found, procedure_records.read(settings, tenant))
    finally:
        worker.close()
    _say(doubts[:_MAX_SHOWN], "yellow")
    if faults:
        _say(faults, "red")
        raise Failure(f"nothing was applied: {count(len(faults), 'problem')}", Exit.FAILED)


def _say(faults: Sequence[Fault], colour: str) -> None:
    for fault in faults:
        where = f"{fault.file}: {fault.field}" if fault.field else fault.file
        terminal.say(plain(f"{where}: {fault.message}"), colour)


def _show_changes(
    changes: Changes, there: dict[str, ScheduleState], *, prune: bool, only: bool
) -> None:
    for one in changes.written:
        before = there.get(one.name)
        old = None if before is None else before.schedule
        was = "nothing" if old is None else "applied"
        lines = list(
            difflib.unified_diff(
                _yaml(old), _yaml(one.schedule), f"{one.name} ({was})", one.file, lineterm=""
            )
        )
        for line in lines[:_MAX_LINES]:
            colour = {"+": "green", "-": "red"}.get(line[:1], "dim")
            terminal.say(plain(line), colour)
        if len(lines) > _MAX_LINES:
            terminal.say(f"... {len(lines) - _MAX_LINES} more lines", "dim")
    for state in () if only else changes.removed:
        what = "is removed" if prune else "stays; --prune removes it"
        terminal.say(plain(f"{state.name} is not in the folder: it {what}"), "yellow")


def _yaml(schedule: Schedule | None) -> list[str]:
    import yaml

    if schedule is None:
        return []
    document = schedule.model_dump(mode="json", exclude_unset=True)
    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=100)
    return text.splitlines()
