"""Schedules and triggers: what starts procedures by itself."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from reading.models.base import Model

ScheduleStatus = Literal["paused", "running", "unusable", "waiting", "done"]


class ScheduleRun(Model):
    """An execution of the schedule that has not ended."""

    execution_id: str
    moment: AwareDatetime
    kind: str
    started_at: AwareDatetime


class ScheduleOutcome(Model):
    """What became of a moment, or of those from `moment` to `until`."""

    moment: AwareDatetime
    until: AwareDatetime | None
    kind: str = Field(description="moment, run or backfill")
    outcome: str
    at: AwareDatetime
    execution_id: str | None
    message: str | None


class QueuedMoment(Model):
    """A moment that is started when what runs has ended."""

    moment: AwareDatetime
    kind: str


class Backfill(Model):
    """A range whose moments are started one after the other."""

    begin: AwareDatetime
    end: AwareDatetime
    done: AwareDatetime


class ScheduleView(Model):
    """One schedule: as it was applied, and how it stands."""

    name: str
    tenant: str
    status: ScheduleStatus
    problem: str | None = Field(description="why its definition cannot be used here")
    description: str | None
    procedure: str
    version: str | None = Field(description="null: whichever is applied")
    when: str = Field(description="as its file says it, such as `30 2 * * * Europe/Berlin`")
    timezone: str
    paused: bool
    pause_reason: str | None
    applied_by: str
    signed: bool
    applied_at: AwareDatetime
    next: list[AwareDatetime] = Field(description="the moments that come next")
    running: list[ScheduleRun]
    queued: list[QueuedMoment]
    backfills: list[Backfill]
    history: list[ScheduleOutcome] = Field(description="newest first")
    definition: dict[str, Any] = Field(description="as it was applied")


class ScheduleList(Model):
    """Schedules by name."""

    schedules: list[ScheduleView]
    as_of: AwareDatetime = Field(description="when the topic was read")


class TriggerOutcome(Model):
    """What became of matching records; those of one kind that follow each other are one entry."""

    at: AwareDatetime
    what: str = Field(description="started, repeated or limited")
    cause: str
    execution_id: str | None
    count: int


class TriggerError(Model):
    """The last record on which an expression of the trigger failed."""

    at: AwareDatetime
    field: str
    error: str
    record: str


class TriggerView(Model):
    """One trigger: as it was applied, and what it has done."""

    name: str
    tenant: str
    status: Literal["paused", "active", "topic missing", "unknown"] = Field(
        description="unknown: Kafka did not say whether its topic is there"
    )
    description: str | None
    topic: str
    procedure: str
    version: str | None
    pause_reason: str | None
    applied_by: str
    signed: bool
    applied_at: AwareDatetime
    counts: dict[str, int] = Field(description="matches by what became of them")
    last_error: TriggerError | None
    history: list[TriggerOutcome] = Field(description="newest first")
    definition: dict[str, Any]


class TriggerList(Model):
    """Triggers by name."""

    triggers: list[TriggerView]
    as_of: AwareDatetime = Field(description="when the topic was read")
