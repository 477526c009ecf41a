"""Triggers: which records of a Kafka topic start a procedure, and what is said to a trigger.

Commands are keyed by tenant and name, so all of a trigger lie in one partition in order.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, TypeAdapter, model_validator

from streams.limits import MAX_INTEGER
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

#: Characters of an expression.
MAX_EXPRESSION: Final = 2_000
#: Items of one record that for_each may give.
MAX_ITEMS: Final = 1_000


class Deduplicate(BaseModel):
    """What is the same again starts nothing for a while."""

    model_config = CLOSED

    key: str = Field(
        min_length=1,
        max_length=MAX_EXPRESSION,
        description="expression; records are the same where its value is",
    )
    window_seconds: int = Field(
        default=3_600, ge=1, le=7 * DAY, description="counted from the one that started"
    )


class StartLimit(BaseModel):
    """How often the trigger may start; what comes beyond it is dropped, and counted."""

    model_config = CLOSED

    starts: int = Field(default=60, ge=1, le=100_000)
    per_seconds: int = Field(default=3_600, ge=1, le=DAY)


class Trigger(BaseModel):
    """Which records of a topic run a procedure, and with which inputs."""

    model_config = CLOSED

    name: StarterName
    description: str | None = Field(default=None, max_length=500)
    topic: str = Field(
        pattern=r"^[a-zA-Z0-9._-]{1,249}$", description="full name of a Kafka topic; JSON values"
    )
    begin: Literal["latest", "earliest"] = Field(
        default="latest",
        description="latest: records from when it was applied; earliest: all that are there",
    )
    when: str | None = Field(
        default=None,
        max_length=MAX_EXPRESSION,
        description="condition; every record if absent. It and the others see message, text, key, "
        "headers, topic, partition, offset, timestamp, and item where there is for_each",
    )
    for_each: str | None = Field(
        default=None,
        max_length=MAX_EXPRESSION,
        description="expression of a list: when, inputs and deduplicate count for each item of it",
    )
    procedure: ProcedureName
    version: WrittenVersion | None = Field(
        default=None, description="runs only if this version is applied; any version if absent"
    )
    inputs: dict[str, Any] | None = Field(
        default=None,
        description="values of its inputs; in texts {{ expression }} is replaced, and one that is "
        "exactly one expression keeps its type",
    )
    deduplicate: Deduplicate | None = Field(
        default=None, description="if absent, each record starts on its own"
    )
    limit: StartLimit = StartLimit()
    paused: bool = Field(default=False, description="applied paused; `resume` begins")


class ApplyTrigger(StarterCommand):
    """Take this trigger in the place of the one of its name."""

    type: Literal["apply"] = "apply"
    trigger: Trigger

    @model_validator(mode="after")
    def _one_name(self) -> Self:
        refuse_other_name("trigger", self.trigger.name, self.name)
        return self


class RemoveTrigger(Remove):
    """Forget the trigger; executions that it started go on."""


class PauseTrigger(Pause):
    """Start nothing; records that come meanwhile are not made up for."""


class ResumeTrigger(Resume):
    """Start for the records that come from now on."""


class Matched(BaseModel):
    """A record fulfilled the condition of a trigger; said by the matcher, which signs it."""

    model_config = OPEN

    type: Literal["matched"] = "matched"
    tenant: str = Field(pattern=TENANT)
    name: StarterName
    definition: str = Field(
        max_length=64, description="digest of the trigger that was evaluated; another is ignored"
    )
    topic: str = Field(max_length=249)
    partition: int = Field(ge=0, le=MAX_INTEGER)
    offset: int = Field(ge=0, le=MAX_INTEGER)
    item: int | None = Field(default=None, ge=0, lt=MAX_ITEMS, description="its number in for_each")
    at: AwareDatetime = Field(description="the timestamp of the record")
    same: str | None = Field(
        default=None, max_length=64, description="SHA-256 of the value of deduplicate.key"
    )
    inputs: dict[str, Any] | None = None


class MatchFailed(BaseModel):
    """An expression of a trigger failed on records; said by the matcher, at most every 10 s."""

    model_config = OPEN

    type: Literal["failed"] = "failed"
    tenant: str = Field(pattern=TENANT)
    name: StarterName
    definition: str = Field(max_length=64)
    topic: str = Field(max_length=249)
    partition: int = Field(ge=0, le=MAX_INTEGER)
    offset: int = Field(ge=0, le=MAX_INTEGER, description="of the last record that it failed on")
    at: AwareDatetime = Field(description="the timestamp of this record")
    field: str = Field(max_length=200, description="which field of the trigger failed")
    error: str = Field(max_length=500)
    count: int = Field(ge=1, le=MAX_INTEGER, description="failures since it was said last")


AnyTriggerCommand = (
    ApplyTrigger | RemoveTrigger | PauseTrigger | ResumeTrigger | Matched | MatchFailed
)
TRIGGER_COMMAND: TypeAdapter[AnyTriggerCommand] = TypeAdapter(
    Annotated[AnyTriggerCommand, Field(discriminator="type")],
    config=ConfigDict(defer_build=True),
)
