"""Commands: what is made of a command to a schedule that may be followed; pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from authority.identity import Identity
from processors.schedules.firing import ON_TIME_SECONDS
from processors.schedules.moments import YEARS, Wrong, timing
from processors.schedules.starting import Decision, offer, pump
from processors.schedules.state import MAX_BACKFILLS, Backfill, Known, ScheduleState
from runtime.kafka.hosted import Fault
from streams.schedules import (
    MAX_BACKFILL,
    ApplySchedule,
    BackfillSchedule,
    PauseSchedule,
    RemoveSchedule,
    ResumeSchedule,
    RunSchedule,
    Schedule,
)

Command = (
    ApplySchedule | RemoveSchedule | PauseSchedule | ResumeSchedule | RunSchedule | BackfillSchedule
)
#: What decides when a schedule is due.
_TIMES: Final = ("cron", "every_seconds", "at", "timezone", "begin", "end")


@dataclass(frozen=True, slots=True)
class Follow:
    """One command that may be followed, and on whose behalf."""

    command: Command
    identity: Identity
    decision: Decision


def follow(known: Known | None, asked: Follow) -> Known | Fault:
    """The schedule as the command leaves it, or why it cannot be followed.

    All commands but `apply` are about one that is applied.
    """
    command, now = asked.command, asked.decision.now
    if isinstance(command, ApplySchedule):
        return _apply(known, command, asked)
    assert known is not None  # the caller has refused it else  # noqa: S101
    state = known.state
    if isinstance(command, RemoveSchedule):
        state.schedule, state.removed = None, now
        state.waiting, state.backfills = [], []
        known.define()
    elif isinstance(command, PauseSchedule):
        state.paused, state.pause_reason = True, command.reason
    elif isinstance(command, ResumeSchedule):
        if state.paused:
            _resume(known, asked.decision)
    elif isinstance(command, RunSchedule):
        return _run(known, command, asked.decision)
    else:
        return _backfill(known, command, asked.decision)
    return known


def _apply(known: Known | None, command: ApplySchedule, asked: Follow) -> Known | Fault:
    schedule, now = command.schedule, asked.decision.now
    found = timing(schedule, command.tenant)
    if isinstance(found, Wrong):
        return Fault("invalid", f"schedule.{found.field}: {found.message}")
    # One that is for once may just have come when its command arrives.
    begin = now if schedule.at is None else now - ON_TIME_SECONDS
    if known is None:
        known = Known(
            ScheduleState(
                command.tenant, command.name, schedule, "", None, now, begin, schedule.paused
            )
        )
    else:
        _change(known, schedule, begin, asked.decision)
    state = known.state
    state.actor, state.kid = asked.identity.actor, asked.identity.kid
    state.schedule, state.removed, state.applied = schedule, None, now
    known.define()
    pump(known, asked.decision)
    return known


def _change(known: Known, schedule: Schedule, begin: float, decision: Decision) -> None:
    """Go on with another definition: what runs and waits is kept."""
    state, before = known.state, known.state.schedule
    if before is None:
        state.paused, state.pause_reason, state.history = schedule.paused, None, []
    elif before.paused != schedule.paused:
        state.paused, state.pause_reason = schedule.paused, None
        if not schedule.paused:
            state.decided = max(state.decided, decision.now)
    if before is None or any(getattr(before, name) != getattr(schedule, name) for name in _TIMES):
        state.decided = max(state.decided, begin)


def _resume(known: Known, decision: Decision) -> None:
    state = known.state
    state.paused, state.pause_reason = False, None
    # The moments of the pause are not made up for.
    state.decided = max(state.decided, decision.now)
    known.look()
    pump(known, decision)


def _run(known: Known, command: RunSchedule, decision: Decision) -> Known | Fault:
    if command.moment is not None and not _usable(command.moment):
        return _no_year("moment")
    moment = decision.now if command.moment is None else command.moment.timestamp()
    offer(known, round(moment, 3), "run", decision)
    return known


def _backfill(known: Known, command: BackfillSchedule, decision: Decision) -> Known | Fault:
    state = known.state
    if known.timing is None:
        wrong = known.wrong
        return Fault("invalid", "" if wrong is None else f"schedule.{wrong.field}: {wrong.message}")
    for field, given in (("begin", command.begin), ("end", command.end)):
        if not _usable(given):
            return _no_year(field)
    begin, end = command.begin.timestamp(), command.end.timestamp()
    if end > decision.now:
        return Fault(
            "invalid", "end: it lies in the future; a backfill is of moments that have passed"
        )
    if len(state.backfills) >= MAX_BACKFILLS:
        return Fault("conflict", f"{MAX_BACKFILLS} backfills of {state.name} are not done yet")
    moments = known.timing.between(begin, end, MAX_BACKFILL + 1)
    if len(moments) > MAX_BACKFILL:
        return Fault(
            "invalid",
            f"begin: the range has more than {MAX_BACKFILL} moments; take a shorter one",
        )
    if not moments:
        return Fault("invalid", f"begin: {state.name} has no moment in this range")
    state.backfills.append(Backfill(begin, end, begin - 0.001))
    pump(known, decision)
    return known


def _usable(moment: datetime) -> bool:
    return moment.year in YEARS[1:-1]


def _no_year(field: str) -> Fault:
    return Fault("invalid", f"{field}: its year must be {YEARS[1]} to {YEARS[-2]}")
