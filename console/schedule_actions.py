"""`runstream schedules pause`, `resume`, `run`, `backfill` and `remove`."""

from __future__ import annotations

import difflib
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import endpoints, moments, terminal
from console.exits import Exit, Failure
from console.options import Actor, Json, Reason, Timeout, login
from console.schedule_options import ScheduleName, Tenant, Yes, asked
from console.text import count

if TYPE_CHECKING:
    from collections.abc import Mapping

    from authority.keys import PrivateKey
    from processors.schedules.commands import Command
    from processors.schedules.state import ScheduleState
    from runtime.settings import CommonSettings


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
    from streams.schedules import PauseSchedule

    asking = _Asking(tenant, actor)
    state = asking.send(PauseSchedule(**asking.whose(name), reason=reason))
    _said(state, "is paused", as_json)


def resume(
    name: ScheduleName, tenant: Tenant = None, actor: Actor = None, as_json: Json = False
) -> None:
    """Start at the moments that come from now on; those of the pause are not made up for."""
    from streams.schedules import ResumeSchedule

    asking = _Asking(tenant, actor)
    _said(asking.send(ResumeSchedule(**asking.whose(name))), "goes on", as_json)


def remove(
    name: ScheduleName,
    tenant: Tenant = None,
    actor: Actor = None,
    yes: Yes = False,
    as_json: Json = False,
) -> None:
    """Forget a schedule; executions that it has started go on."""
    from streams.schedules import RemoveSchedule

    asking = _Asking(tenant, actor)
    find(asking.known(), name)
    if not yes:
        asked(f"remove {name}?", "nothing was removed")
    asking.send(RemoveSchedule(**asking.whose(name)))
    if as_json:
        terminal.data({"removed": name})
    else:
        terminal.say(f"{name} is removed", "green")


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
    from console.watching import watch_execution
    from runtime.clock import iso, now
    from streams.schedules import RunSchedule

    asking = _Asking(tenant, actor)
    moment = now()
    asked_at = datetime.fromtimestamp(moment, UTC)
    state = asking.send(RunSchedule(**asking.whose(name), moment=asked_at))
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
    from runtime.clock import iso, now
    from streams.schedules import MAX_BACKFILL, BackfillSchedule

    asking = _Asking(tenant, actor)
    state = find(asking.known(), name)
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
        asked("start them, one after the other?", "nothing was started")
    asking.send(BackfillSchedule(**asking.whose(name), begin=first, end=last))
    if as_json:
        terminal.data({"name": name, "moments": [iso(moment) for moment in found]})
    else:
        terminal.say(f"{name} starts them; runstream schedules show {name}", "green")


def find(found: Mapping[str, ScheduleState], name: str) -> ScheduleState:
    """The schedule of this name; raises Failure with what may have been meant."""
    if name in found:
        return found[name]
    near = difflib.get_close_matches(name, found, n=1)
    hint = f"did you mean {near[0]}?" if near else "runstream schedules list"
    raise Failure(f"there is no schedule {name!r}", Exit.USAGE, hint)


def _moments_of(state: ScheduleState, begin: float, end: float, most: int) -> list[float]:
    from processors.schedules.moments import Wrong, timing

    found: list[float] = []
    times = None if state.schedule is None else timing(state.schedule, state.tenant)
    if times is None or isinstance(times, Wrong):
        return found
    moment = times.after(begin - 0.001)
    while moment is not None and moment <= end and len(found) < most:
        found.append(moment)
        moment = times.after(moment)
    return found


def _said(state: ScheduleState, what: str, as_json: bool) -> None:
    from console import schedule_view

    if as_json:
        terminal.data(schedule_view.document(state, 1))
    else:
        terminal.say(f"{state.name} {what}", "green")


class _Asking:
    """On whose behalf commands are sent, and where."""

    def __init__(self, tenant: str | None, actor: str | None) -> None:
        from console import signing
        from runtime.settings import CommonSettings

        self.settings: CommonSettings = endpoints.load(CommonSettings)
        self._key: PrivateKey | None = signing.private_key(self.settings)
        self._tenant = signing.tenant_of(self._key, tenant) or "default"
        self._actor = signing.actor_of(self._key, actor, login())

    def whose(self, name: str) -> dict[str, Any]:
        """The fields of every command; raises Failure for what is no name."""
        import re

        from streams.started import STARTER_NAME

        if not re.search(STARTER_NAME, name):
            raise Failure(
                f"{name!r} is no name of a schedule", Exit.USAGE, "runstream schedules list"
            )
        return {"tenant": self._tenant, "name": name, "actor": self._actor}

    def known(self) -> dict[str, ScheduleState]:
        """The schedules of the tenant."""
        from console import schedule_records

        return schedule_records.read(self.settings, self._tenant)

    def send(self, command: Command) -> ScheduleState:
        """The schedule after the command; raises Failure where that is refused."""
        from console import schedule_records

        (answer,) = schedule_records.send(self.settings, [command], self._key)
        if answer.state is None:
            raise Failure(f"{command.type} refused: {answer.refused}", Exit.REJECTED)
        return answer.state
