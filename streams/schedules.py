"""Schedules: when procedures run by themselves, and what is said to a schedule.

Commands are keyed by tenant and name, so all of a schedule lie in one partition in order.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError

from streams.inputs import INPUT_NAME
from streams.procedures import TENANT, ProcedureName, WrittenVersion
from streams.started import StarterName
from streams.starter_commands import (
    CLOSED,
    DAY,
    OPEN,
    Pause,
    Remove,
    Resume,
    StarterCommand,
    refuse_other_name,
)

#: Moments that one backfill may start.
MAX_BACKFILL: Final = 1_000
#: Characters of why an execution ended so.
MAX_REASON: Final = 2_000


class Misfire(BaseModel):
    """What becomes of moments at which nothing could be started, such as during an outage."""

    model_config = CLOSED

    policy: Literal["latest", "all", "skip"] = Field(
        default="latest",
        description="latest: the last one that was missed is started; all: each; skip: none",
    )
    within_seconds: int = Field(
        default=3_600,
        ge=1,
        le=31 * DAY,
        description="what was due longer ago is skipped whatever the policy says",
    )


class Schedule(BaseModel):
    """When a procedure is run with which inputs; exactly one of `cron`, `every_seconds`, `at`."""

    model_config = CLOSED

    name: StarterName
    description: str | None = Field(default=None, max_length=500)
    procedure: ProcedureName
    version: WrittenVersion | None = Field(
        default=None, description="runs only if this version is applied; any version if absent"
    )
    inputs: dict[str, Any] | None = Field(default=None, description="values of its inputs")
    moment_input: str | None = Field(
        default=None,
        pattern=INPUT_NAME,
        description="the input that gets the moment that was due, as text in UTC",
    )
    cron: str | None = Field(
        default=None, max_length=200, description="minute, hour, day, month, day of the week"
    )
    every_seconds: int | None = Field(
        default=None,
        ge=5,
        le=366 * DAY,
        description="counted from `begin`, or from 1970-01-01T00:00:00Z",
    )
    at: AwareDatetime | None = Field(default=None, description="once, at this moment")
    timezone: str = Field(
        default="UTC", min_length=1, max_length=64, description="of `cron`, as in Europe/Berlin"
    )
    begin: AwareDatetime | None = Field(default=None, description="nothing is due before")
    end: AwareDatetime | None = Field(default=None, description="nothing is due after")
    jitter_seconds: int = Field(
        default=0,
        ge=0,
        le=DAY,
        description="each moment is started up to so much later; how much is the same for each "
        "router, since it follows from the name and the moment",
    )
    misfire: Misfire = Misfire()
    overlap: Literal["skip", "queue", "cancel", "allow"] = Field(
        default="skip",
        description="what becomes of a moment while an earlier execution has not ended. skip: "
        "nothing is started; queue: it is started when that has ended; cancel: that is cancelled, "
        "and it is started when that has ended; allow: it is started",
    )
    max_queued: int = Field(
        default=1, ge=1, le=100, description="moments that wait; beyond it the oldest is dropped"
    )
    paused: bool = Field(default=False, description="applied paused; `resume` begins")

    @model_validator(mode="after")
    def _one_kind(self) -> Self:
        given = [self.cron, self.every_seconds, self.at]
        if sum(value is not None for value in given) != 1:
            raise PydanticCustomError(
                "schedule", "give exactly one of cron, every_seconds and at", {"field": "cron"}
            )
        if self.begin is not None and self.end is not None and self.begin > self.end:
            raise PydanticCustomError("schedule", "it is before begin", {"field": "end"})
        return self


class ApplySchedule(StarterCommand):
    """Take this schedule in the place of the one of its name; what runs and waits is kept."""

    type: Literal["apply"] = "apply"
    schedule: Schedule

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        refuse_other_name("schedule", self.schedule.name, self.name)
        return self


class RemoveSchedule(Remove):
    """Forget the schedule; executions that it started go on."""


class PauseSchedule(Pause):
    """Start nothing at the moments that come; they are not made up for."""


class ResumeSchedule(Resume):
    """Start at the moments that come from now on."""


class RunSchedule(StarterCommand):
    """Start now, besides the moments of the schedule; also while it is paused."""

    type: Literal["run"] = "run"
    moment: AwareDatetime | None = Field(
        default=None,
        description="the moment that is recorded; with it a command that is repeated starts once",
    )


class BackfillSchedule(StarterCommand):
    """Start once for each moment of a range in the past, as `overlap: queue` would, in order."""

    type: Literal["backfill"] = "backfill"
    begin: AwareDatetime
    end: AwareDatetime

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.begin > self.end:
            raise PydanticCustomError("schedule", "it is before begin", {"field": "end"})
        return self


class StartEnded(BaseModel):
    """What a schedule started has ended, or never ran; said by the router that runs it."""

    model_config = OPEN

    type: Literal["ended"] = "ended"
    tenant: str = Field(pattern=TENANT)
    name: StarterName
    execution_id: str = Field(min_length=36, max_length=36)
    cause: str = Field(min_length=1, max_length=400)
    status: str = Field(
        min_length=1, max_length=40, description="as the execution's; or rejected, or duplicate"
    )
    reason: str | None = Field(default=None, max_length=MAX_REASON)


AnyScheduleCommand = (
    ApplySchedule
    | RemoveSchedule
    | PauseSchedule
    | ResumeSchedule
    | RunSchedule
    | BackfillSchedule
    | StartEnded
)
SCHEDULE_COMMAND: TypeAdapter[AnyScheduleCommand] = TypeAdapter(
    Annotated[AnyScheduleCommand, Field(discriminator="type")],
    config=ConfigDict(defer_build=True),
)
