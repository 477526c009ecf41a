"""`runstream schedules pause`, `resume`, `run`, `backfill` and `remove`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from console import applying, moments, session, terminal
from console.exits import Exit, Failure
from console.options import Actor, Json, Reason, Tenant, Timeout, Yes
from reading.text import count

if TYPE_CHECKING:
    from processors.schedules.state import ScheduleState

ScheduleName = Annotated[str, typer.Argument(metavar="NAME", help="The schedule.")]


def register(group: typer.Typer) -> None:
    """Add the commands to those of schedules."""
    for command in (pause, resume, run, backfill, remove):
        group.command()(command)


def pause(
    name: ScheduleName,
    reason: Reason = None,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Start nothing at the moments that come; what runs goes on."""
    from console import starter_actions
    from console.schedule_records import SCHEDULES

    starter_actions.pause(session.begin(tenant, actor), SCHEDULES, name, reason, as_json=as_json)


def resume(
    name: ScheduleName, tenant: Tenant = None, actor: Actor = None, as_json: Json = False
) -> None:
    """Start at the moments that come from now on; those of the pause are not made up for."""
    from console import starter_actions
    from console.schedule_records import SCHEDULES

    starter_actions.resume(session.begin(tenant, actor), SCHEDULES, name, as_json=as_json)


def remove(
    name: ScheduleName,
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Forget a schedule; executions that it has started go on."""
    from console import starter_actions
    from console.schedule_records import SCHEDULES

    asking = session.begin(tenant, actor)
    starter_actions.remove(asking, SCHEDULES, name, yes=yes, as_json=as_json)


def run(
    name: ScheduleName,
    watch: Annotated[bool, typer.Option("--watch", help="Watch the execution.")] = False,
    timeout: Timeout = 86_400.0,
    tenant: Tenant = None,
    actor: Actor = None,
    as_json: Json = False,
) -> None:
    """Start now, besides the moments of the schedule; also while it is paused.

    What its `overlap` says counts here too: nothing is started, or it waits, while an earlier
    execution runs.
    """
    from console import starter_actions
    from console.schedule_records import SCHEDULES
    from console.watching import watch_execution
    from runtime.clock import iso, now
    from streams.schedules import RunSchedule

    asking = session.begin(tenant, actor)
    moment = now()
    command = RunSchedule(
        tenant=asking.tenant,
        actor=asking.actor,
        name=starter_actions.checked_name("schedule", name),
        moment=datetime.fromtimestamp(moment, UTC),
    )
    state = starter_actions.ask(asking, SCHEDULES, command)
    running = [one for one in state.running if one.moment == moment]
    ended = [one for one in state.history if one.moment == moment]
    idents = [one.execution_id for one in running] + [one.execution_id for one in ended]
    ident = next((one for one in idents if one is not None), None)
    if ident is None and ended:
        why = ended[0].message or ""
        raise Failure(
            f"nothing was started: {why}", Exit.REJECTED, f"runstream schedules show {name}"
        )
    if ident is not None and watch:
        code = watch_execution(
            asking.settings, ident, timeout=timeout, as_json=as_json, jsonl=False, quiet=as_json
        )
        raise typer.Exit(code)
    if as_json:
        terminal.data({"name": name, "moment": iso(moment), "execution_id": ident})
    elif ident is None:
        terminal.say("it starts when what runs has ended", "yellow")
    else:
        terminal.tell(ident)


def backfill(
    name: ScheduleName,
    begin: Annotated[
        str,
        typer.Option("--from", metavar="TIME", help="2026-11-20, 2026-11-20T07:00 (UTC), or 7d."),
    ],
    end: Annotated[str, typer.Option("--to", metavar="TIME", help="Likewise; this one included.")],
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Start once for each moment of a range in the past, one after the other."""
    from console import starter_actions, starter_commands
    from console.schedule_records import SCHEDULES
    from runtime.clock import iso, now
    from streams.schedules import MAX_BACKFILL, BackfillSchedule

    asking = session.begin(tenant, actor)
    state = applying.find(starter_commands.read(asking, SCHEDULES), name, "schedule")
    here = datetime.fromtimestamp(now(), UTC)
    first, last = moments.moment("--from", begin, here), moments.moment("--to", end, here)
    if first is None or last is None or first > last:
        raise Failure("--to: it is before --from", Exit.USAGE)
    found = _moments_of(state, first.timestamp(), last.timestamp(), MAX_BACKFILL + 1)
    if not found:
        raise Failure(f"{name} has no moment in this range", Exit.USAGE)
    if len(found) > MAX_BACKFILL:
        raise Failure(
            f"the range has more than {MAX_BACKFILL} moments", Exit.USAGE, "a shorter one"
        )
    terminal.say(f"{count(len(found), 'moment')}, from {iso(found[0])} to {iso(found[-1])}")
    if not yes:
        applying.ask("start them, one after the other?", "nothing was started")
    command = BackfillSchedule(
        tenant=asking.tenant, actor=asking.actor, name=name, begin=first, end=last
    )
    starter_actions.ask(asking, SCHEDULES, command)
    if as_json:
        terminal.data({"name": name, "moments": [iso(moment) for moment in found]})
    else:
        terminal.say(f"{name} starts them; runstream schedules show {name}", "green")


def _moments_of(state: ScheduleState, begin: float, end: float, most: int) -> list[float]:
    from processors.schedules.moments import Wrong, timing

    times = None if state.schedule is None else timing(state.schedule, state.tenant)
    if times is None or isinstance(times, Wrong):
        return []
    return times.between(begin, end, most)
