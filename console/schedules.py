"""`runstream schedules apply`, `lint`, `list` and `show`: when procedures run by themselves."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from console import applying, schedule_actions, session, terminal
from console.options import Actor, Again, Json, Prune, Tenant, Yes
from console.schedule_actions import ScheduleName

if TYPE_CHECKING:
    from processors.schedules.state import ScheduleState

Place = Annotated[
    Path, typer.Argument(metavar="DIR|FILE", help="A folder or one file, of YAML or JSON.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    group = typer.Typer(no_args_is_help=True, help="Procedures that run by themselves, at times.")
    group.command()(apply)
    group.command("list")(list_)
    group.command()(show)
    schedule_actions.register(group)
    group.command()(lint)
    app.add_typer(group, name="schedules")


def lint(place: Place, as_json: Json = False) -> None:
    """Check a schedule, or every one of a folder; exit code 1 where one is wrong.

    Needs neither Kafka nor a database, so it does not know the procedures.
    """
    from console.schedule_files import read

    applying.lint(place, "schedule", *read(place), as_json=as_json)


def apply(
    place: Place,
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Yes = False,
    prune: Prune = False,
    again: Again = False,
    as_json: Json = False,
) -> None:
    """Make the schedules of the cluster those of a folder; the differences are shown first.

    With one file only its schedule is changed. What runs and waits is kept. Executions have the
    rights of whoever signs this, as long as that key counts.
    """
    from console import schedule_files, starter_actions
    from console.schedule_records import SCHEDULES

    found, faults = schedule_files.read(place)
    applying.refuse(faults)
    options = starter_actions.Options(yes, prune, again, as_json)
    asking = session.begin(tenant, actor)
    starter_actions.apply(asking, SCHEDULES, place, found, schedule_files.against, options)


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

    state = applying.find(_read(tenant), name, "schedule")
    if as_json:
        terminal.data(schedule_view.document(state, moments))
    else:
        schedule_view.show(state, moments)


def _read(tenant: str | None) -> dict[str, ScheduleState]:
    from console import starter_commands
    from console.schedule_records import SCHEDULES

    return starter_commands.read(session.begin(tenant), SCHEDULES)
