"""Schedules and triggers as their templates show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from reading.models.starters import (
    ScheduleList,
    ScheduleOutcome,
    ScheduleView,
    TriggerList,
    TriggerOutcome,
    TriggerView,
)
from web.statuses import Look
from web.views.looks import SCHEDULE, TRIGGER, look_of
from web.wording import NOTHING, counted, number

_OUTCOME: Final[dict[str, Look]] = {
    "started": Look("run", "send", "Started"),
    "completed": Look("ok", "check", "Completed"),
    "failed": Look("fail", "cross", "Failed"),
    "skipped": Look("wait", "skip", "Skipped"),
    "missed": Look("person", "attention", "Missed"),
    "repeated": Look("wait", "skip", "Repeated"),
    "limited": Look("person", "pause", "Limited"),
    "rejected": Look("fail", "ban", "Rejected"),
}


@dataclass(frozen=True, slots=True)
class HistoryRow:
    """What became of one moment or match."""

    look: Look
    at: datetime
    #: The moments or the record that it is about.
    about: str
    message: str | None
    execution_href: str | None
    execution_id: str | None
    count: int


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """One schedule in the list."""

    name: str
    href: str
    look: Look
    #: Why it does not start anything.
    why: str | None
    procedure: str
    when: str
    next: datetime | None
    last: HistoryRow | None


@dataclass(frozen=True, slots=True)
class Schedules:
    """The page of the schedules."""

    rows: list[ScheduleRow]
    text: str
    total: int
    shown: str
    as_of: datetime


@dataclass(frozen=True, slots=True)
class SchedulePage:
    """The page of one schedule."""

    row: ScheduleRow
    schedule: ScheduleView
    history: list[HistoryRow]
    definition: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TriggerRow:
    """One trigger in the list."""

    name: str
    href: str
    look: Look
    why: str | None
    topic: str
    procedure: str
    #: Such as `12 started, 3 repeated`.
    counts: str
    last: HistoryRow | None


@dataclass(frozen=True, slots=True)
class Triggers:
    """The page of the triggers."""

    rows: list[TriggerRow]
    text: str
    total: int
    shown: str
    as_of: datetime


@dataclass(frozen=True, slots=True)
class TriggerPage:
    """The page of one trigger."""

    row: TriggerRow
    trigger: TriggerView
    history: list[HistoryRow]
    definition: dict[str, Any]


def schedules(found: ScheduleList, text: str) -> Schedules:
    """The page of these schedules, narrowed to those with this text."""
    matching = [one for one in found.schedules if _has(text, one.name, one.procedure)]
    return Schedules(
        [schedule_row(one) for one in matching],
        text,
        len(found.schedules),
        _shown(len(matching), len(found.schedules), "schedule"),
        found.as_of,
    )


def schedule_row(schedule: ScheduleView) -> ScheduleRow:
    """One schedule in the list."""
    return ScheduleRow(
        name=schedule.name,
        href=f"/schedules/{schedule.name}",
        look=look_of(SCHEDULE, schedule.status),
        why=schedule.problem or (schedule.pause_reason if schedule.paused else None),
        procedure=_procedure(schedule.procedure, schedule.version),
        when=schedule.when,
        next=schedule.next[0] if schedule.next else None,
        last=_moment(schedule.history[0]) if schedule.history else None,
    )


def schedule_page(schedule: ScheduleView) -> SchedulePage:
    """The page of this schedule."""
    return SchedulePage(
        schedule_row(schedule),
        schedule,
        [_moment(one) for one in schedule.history],
        schedule.definition,
    )


def triggers(found: TriggerList, text: str) -> Triggers:
    """The page of these triggers, narrowed to those with this text."""
    matching = [one for one in found.triggers if _has(text, one.name, one.procedure, one.topic)]
    return Triggers(
        [trigger_row(one) for one in matching],
        text,
        len(found.triggers),
        _shown(len(matching), len(found.triggers), "trigger"),
        found.as_of,
    )


def trigger_row(trigger: TriggerView) -> TriggerRow:
    """One trigger in the list."""
    paused = trigger.pause_reason if trigger.status == "paused" else None
    failing = trigger.last_error
    counts = ", ".join(f"{number(value)} {what}" for what, value in trigger.counts.items() if value)
    return TriggerRow(
        name=trigger.name,
        href=f"/triggers/{trigger.name}",
        look=look_of(TRIGGER, trigger.status),
        why=paused or (None if failing is None else f"{failing.field}: {failing.error}"),
        topic=trigger.topic,
        procedure=_procedure(trigger.procedure, trigger.version),
        counts=counts or NOTHING,
        last=_match(trigger.history[0]) if trigger.history else None,
    )


def trigger_page(trigger: TriggerView) -> TriggerPage:
    """The page of this trigger."""
    return TriggerPage(
        trigger_row(trigger),
        trigger,
        [_match(one) for one in trigger.history],
        trigger.definition,
    )


def _has(text: str, *values: str) -> bool:
    return any(text.lower() in value.lower() for value in values)


def _shown(shown: int, total: int, noun: str) -> str:
    return counted(total, noun) if shown == total else f"{shown} of {counted(total, noun)}"


def _procedure(name: str, version: str | None) -> str:
    return name if version is None else f"{name} {version}"


def _moment(one: ScheduleOutcome) -> HistoryRow:
    about = f"{one.moment:%Y-%m-%d %H:%M:%S}"
    if one.until is not None:
        about += f" to {one.until:%Y-%m-%d %H:%M:%S}"
    return _history(
        one.outcome, one.at, f"{about} UTC", one.message, one.execution_id, 1, kind=one.kind
    )


def _match(one: TriggerOutcome) -> HistoryRow:
    return _history(one.what, one.at, one.cause, None, one.execution_id, one.count)


def _history(
    outcome: str,
    at: datetime,
    about: str,
    message: str | None,
    execution_id: str | None,
    count: int,
    kind: str = "moment",
) -> HistoryRow:
    return HistoryRow(
        look=look_of(_OUTCOME, outcome),
        at=at,
        about=about if kind == "moment" else f"{about} ({kind})",
        message=message,
        execution_href=f"/executions/{execution_id}" if execution_id else None,
        execution_id=execution_id,
        count=count,
    )
