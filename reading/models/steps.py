"""Steps, their attempts, and what attempts wrote."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from reading.models.base import Cursor, Model
from streams.lifecycle import StepStatus

StreamName = Literal["stdout", "stderr"]


class StepSummary(Model):
    """One step in a list, without its inputs and outputs."""

    step: str = Field(description="`scan[0]` is an item of `scan`, `roll.drain` is in block `roll`")
    step_index: int | None = Field(description="place in the plan; items have that of their step")
    parent: str | None = Field(description="the step or block that this one is within")
    undoes: str | None = Field(description="the step that this one undoes")
    tool: str | None = Field(description="`block` and `assert` are run by the router itself")
    domain: str | None
    description: str | None
    depends_on: list[str]
    target: str | None = Field(description="what it acts on, from its first dispatch on")
    status: StepStatus | None
    status_reason: str | None = Field(description="why it waits, was skipped or cancelled")
    waiting_until: AwareDatetime | None
    attempt: int = Field(description="the latest; 0 until the first dispatch")
    executor: str | None
    percent: float | None
    progress_message: str | None
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    duration_seconds: float | None
    cancel_requested_at: AwareDatetime | None
    error_class: str | None
    error_message: str | None


class StepPage(Model):
    """Steps in the order of the plan."""

    steps: list[StepSummary]
    total: int = Field(description="on all pages")
    next: Cursor


class StreamExcerpt(Model):
    """What is known of stdout or stderr of an attempt without reading it."""

    bytes: int = Field(description="as the program wrote it, before masking")
    sha256: str | None = Field(description="over the bytes that were published")
    head: str
    tail: str = Field(description="empty where the head is the whole")
    lost_bytes: int = Field(description="of the total, those that could not be published")


class Attempt(Model):
    """One attempt of a step."""

    step: str
    attempt: int
    tool: str | None
    domain: str | None
    target: str | None
    executor: str | None
    status: StepStatus | None
    dispatched_at: AwareDatetime | None
    expires_at: AwareDatetime | None = Field(description="no claim is good after this moment")
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    duration_seconds: float | None
    error_class: str | None
    error_message: str | None
    transient: bool | None = Field(description="another attempt may help, and was safe to make")
    final: bool | None = Field(description="no other attempt followed")
    output: Any = Field(description="what a failed attempt brought; that of a success: the step's")
    stdout: StreamExcerpt | None
    stderr: StreamExcerpt | None
    evidence: dict[str, Any] | None = Field(
        description="of a cancelled attempt: what was ended, and whether that is certain"
    )


class AttemptPage(Model):
    """Attempts by step, in the order of the plan."""

    attempts: list[Attempt]
    next: Cursor


class StepStream(Model):
    """Output of one attempt that can be read by range."""

    attempt: int
    stream: StreamName
    bytes: int = Field(description="that are stored so far")
    first_at: AwareDatetime
    last_at: AwareDatetime


class StepDetail(StepSummary):
    """One step with everything about it but the text of its output."""

    input_data: Any = Field(description="the parameters; from the first dispatch on as they were")
    output_data: Any = Field(description="what later steps may reference")
    attempts: list[Attempt]
    streams: list[StepStream]
    children: int = Field(description="items or inner steps")


class OutputRange(Model):
    """A range of what one attempt wrote to one stream, secrets masked."""

    execution_id: str
    step: str
    attempt: int
    stream: StreamName
    offset: int = Field(description="bytes of the stream before this text")
    length: int = Field(description="bytes of this text as UTF-8")
    total: int = Field(description="bytes that are stored so far")
    ended: bool = Field(description="whether the attempt has ended: then the total is final")
    text: str = Field(description="begins and ends between characters")
