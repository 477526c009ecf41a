"""Schedules: how each stands, and when it is due; times come from its moments alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from processors.schedules.moments import Timing, Wrong, timing
from processors.schedules.state import ScheduleState, decode
from reading.compacted import CompactedTopic
from reading.models.starters import (
    Backfill,
    QueuedMoment,
    ScheduleList,
    ScheduleOutcome,
    ScheduleRun,
    ScheduleStatus,
    ScheduleView,
)
from streams.topics import SCHEDULES_STATE

if TYPE_CHECKING:
    from confluent_kafka import Message

    from runtime.settings import CommonSettings
    from streams.schedules import Schedule

MAX_MOMENTS: Final = 100


def topic(settings: CommonSettings) -> CompactedTopic[ScheduleState]:
    """Schedules as they stand on their topic."""
    return CompactedTopic(settings, SCHEDULES_STATE, take)


def take(message: Message) -> ScheduleState | None:
    """The schedule in a record; None where it was removed, or another version wrote it."""
    try:
        state = decode(message.value() or b"")
    except (KeyError, TypeError, ValueError):
        return None
    return None if state.schedule is None else state


def of_tenant(found: Mapping[bytes, ScheduleState], tenant: str) -> dict[str, ScheduleState]:
    """The schedules of a tenant, by name."""
    mine = [state for state in found.values() if state.tenant == tenant]
    return {state.name: state for state in sorted(mine, key=lambda state: state.name)}


def listing(found: Iterable[ScheduleState], as_of: datetime, most: int) -> ScheduleList:
    """The schedules as a list, each with its next moments."""
    views = [view for state in found if (view := document(state, most)) is not None]
    return ScheduleList(schedules=views, as_of=as_of)


def document(state: ScheduleState, most: int) -> ScheduleView | None:
    """One schedule; None where it was removed."""
    schedule = state.schedule
    if schedule is None:
        return None
    return ScheduleView(
        name=state.name,
        tenant=state.tenant,
        status=status(state),
        problem=problem(state),
        description=schedule.description,
        procedure=schedule.procedure,
        version=schedule.version,
        when=when(schedule),
        timezone=schedule.timezone,
        paused=state.paused,
        pause_reason=state.pause_reason,
        applied_by=state.actor,
        signed=state.kid is not None,
        applied_at=_moment(state.applied),
        next=[_moment(moment) for moment in next_moments(state, most)],
        running=[
            ScheduleRun(
                execution_id=one.execution_id,
                moment=_moment(one.moment),
                kind=one.kind,
                started_at=_moment(one.started),
            )
            for one in state.running
        ],
        queued=[QueuedMoment(moment=_moment(one.moment), kind=one.kind) for one in state.waiting],
        backfills=[
            Backfill(begin=_moment(one.begin), end=_moment(one.end), done=_moment(one.done))
            for one in state.backfills
        ],
        history=[
            ScheduleOutcome(
                moment=_moment(one.moment),
                until=None if one.until is None else _moment(one.until),
                kind=one.kind,
                outcome=one.outcome,
                at=_moment(one.at),
                execution_id=one.execution_id,
                message=one.message,
            )
            for one in reversed(state.history)
        ],
        definition=schedule.model_dump(mode="json", exclude_unset=True),
    )


def next_moments(state: ScheduleState, most: int) -> list[float]:
    """The moments that come next; none of a schedule that is paused."""
    timing_ = timing_of(state)
    found: list[float] = []
    moment: float | None = state.decided
    while timing_ is not None and not state.paused and len(found) < most and moment is not None:
        moment = timing_.after(moment)
        if moment is not None:
            found.append(moment)
    return found


def status(state: ScheduleState) -> ScheduleStatus:
    """One word for how the schedule stands."""
    if state.paused:
        return "paused"
    if state.running:
        return "running"
    timing_ = timing_of(state)
    if timing_ is None:
        return "unusable"
    return "waiting" if timing_.after(state.decided) is not None else "done"


def when(schedule: Schedule) -> str:
    """When it runs, as its file says it."""
    if schedule.cron is not None:
        return f"{schedule.cron} {schedule.timezone}"
    if schedule.at is not None:
        return f"once {utc(schedule.at.timestamp())}"
    return f"every {schedule.every_seconds} s"


def timing_of(state: ScheduleState) -> Timing | None:
    """Its moments; None where its definition cannot be used here."""
    if state.schedule is None:
        return None
    found = timing(state.schedule, state.tenant)
    return None if isinstance(found, Wrong) else found


def problem(state: ScheduleState) -> str | None:
    """Why its definition cannot be used here."""
    if state.schedule is None:
        return None
    found = timing(state.schedule, state.tenant)
    return f"{found.field}: {found.message}" if isinstance(found, Wrong) else None


def utc(moment: float) -> str:
    """A moment in UTC, to the second."""
    return datetime.fromtimestamp(moment, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _moment(unix_seconds: float) -> datetime:
    return datetime.fromtimestamp(unix_seconds, UTC)
