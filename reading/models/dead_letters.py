"""Dead letters: records that nobody could use."""

from __future__ import annotations

from typing import Literal

from pydantic import AwareDatetime, Field

from reading.models.base import Cursor, Model


class DeadLetterSummary(Model):
    """One dead letter in a list."""

    topic: str = Field(description="full name of its dead-letter topic")
    partition: int
    offset: int
    at: AwareDatetime
    error_class: str | None = Field(description="stable class of the fault")
    error_message: str | None
    stage: str | None = Field(description="where it failed: decode, decide, store ...")
    source_topic: str | None
    source_partition: int | None
    source_offset: int | None
    execution_id: str | None = Field(description="null where it could not be read")
    key_bytes: int | None
    value_bytes: int | None


class DeadLetterPage(Model):
    """Dead letters, newest first."""

    letters: list[DeadLetterSummary]
    next: Cursor


class Content(Model):
    """A key, value or header as text, or as base64 where it is no UTF-8."""

    encoding: Literal["text", "base64"]
    text: str
    bytes: int = Field(description="of the whole")
    complete: bool = Field(description="false where only the beginning is kept")


class LetterHeader(Model):
    """One header; of several with one name the last."""

    name: str
    value: str | None = Field(description="0x and hex digits where it is no UTF-8")


class DeadLetter(DeadLetterSummary):
    """One dead letter with its content."""

    key: Content | None
    value: Content | None
    headers: list[LetterHeader]
    redrive: Literal["record", "rerun"] = Field(
        description="record: its bytes go to the source topic again; rerun: a step after its last "
        "attempt, which is repeated by a rerun of its execution"
    )


class DeadLetterGroup(Model):
    """Dead letters of one topic and class."""

    topic: str
    error_class: str | None
    count: int
    first_at: AwareDatetime
    last_at: AwareDatetime
    series: list[int] = Field(description="by span of the range, oldest first")


class DeadLetterCounts(Model):
    """Dead letters of a range by topic and class."""

    since: AwareDatetime
    until: AwareDatetime
    span_seconds: float = Field(description="of one number of the series")
    total: int
    groups: list[DeadLetterGroup]
