"""Payloads about an execution as a whole: what people ask of it, and what it waits for."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from pydantic import Field, FiniteFloat

from streams.timestamps import Timestamp


@dataclass(slots=True)
class ApprovalRequested:
    """The execution waits for somebody else's approval."""

    level: int
    plan_hash: str
    requested_by: str
    expires_at: Timestamp


@dataclass(slots=True)
class ApprovalGiven:
    """One of several approvals that the level needs; `execution.approved` is the last one."""

    actor: str
    given: Annotated[int, Field(description="approvals so far, by as many different actors")]
    level: int
    reason: str | None = None


@dataclass(slots=True)
class By:
    """A request of an actor."""

    actor: str
    reason: str | None = None
    claimed_actor: Annotated[
        str | None, Field(description="who a command without a signature says it is from")
    ] = None


@dataclass(slots=True)
class Resumed:
    """Dispatching goes on; `status` is what the execution is from here."""

    actor: str
    status: Literal["approved", "queued", "running"]
    reason: str | None = None


@dataclass(slots=True)
class CancelRequested:
    """The end is requested; attempts in flight end first, then the terminal event follows."""

    actor: str
    reason: str
    ending: Literal["cancelled", "timeout"]


@dataclass(slots=True)
class NeedsAttention:
    """The outcome of an attempt is unknown; an operator must resolve it."""

    message: str


@dataclass(slots=True)
class SlaBreached:
    """The execution did not end in the time of its SLA; said once, and it goes on."""

    sla_class: str
    sla_seconds: Annotated[FiniteFloat, Field(description="from its acceptance to its end")]
    deadline: Timestamp


@dataclass(slots=True)
class FailedStep:
    """A step that failed for good."""

    step: str
    error_class: str
    message: str
    item: Annotated[
        Any, Field(description="the innermost item that it was for; null where that is large")
    ] = None


@dataclass(slots=True)
class FinallyStarted:
    """Everything else has ended, and the steps of `finally` begin."""

    status: Annotated[
        Literal["completed", "partial", "failed", "cancelled", "timeout"],
        Field(description="how the execution ends, unless a step of `finally` fails"),
    ]
    reason: str | None = None
    failed_steps: Annotated[
        list[FailedStep], Field(description="the first steps that failed, without blocks")
    ] = field(default_factory=list)
