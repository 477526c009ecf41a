"""Payloads: the fields of each type of event, as the router builds it and every reader gets it.

They are plain dataclasses: building and encoding one costs about a microsecond, and the router
writes a dozen per execution. Numbers are finite: readers compute with them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Final, Literal

from pydantic import Field, FiniteFloat

from streams.admitted import AdmittedPlan
from streams.audit_payloads import Audit, SecretsUsed
from streams.control_payloads import (
    ApprovalGiven,
    ApprovalRequested,
    By,
    CancelRequested,
    FinallyStarted,
    NeedsAttention,
    Resumed,
    SlaBreached,
)
from streams.explained import Explained
from streams.lock_payloads import LockAcquired, LockEnded
from streams.problems import Problem, RejectedReason
from streams.procedures import ProcedureRun
from streams.reports import StepError, StreamSummary
from streams.started import StartedBy
from streams.timestamps import Timestamp

#: Which report of the executor ended the attempt.
ReportKind = Annotated[
    Literal["succeeded", "failed", "cancelled", "refused"] | None,
    Field(description="the executor's report that said so; null where the router or a person did"),
]


@dataclass(slots=True)
class Nothing:
    """An event without further fields."""


@dataclass(slots=True)
class Accepted:
    """The plan is admitted; from here on it ends in exactly one terminal event."""

    plan: AdmittedPlan
    plan_hash: str
    actor: str
    environment: str
    idempotency_key: str
    sla_class: str
    mode: str
    action_class: str
    priority: int
    timeout_seconds: Annotated[
        FiniteFloat, Field(description="for the whole execution, from its first start")
    ]
    sla_seconds: FiniteFloat
    approval_level: int
    name: str | None = None
    #: How often this idempotency key was accepted before; the latest acceptance counts.
    run: Annotated[int, Field(description="1 for the first acceptance of its idempotency key")] = 1
    rerun_of: str | None = None
    earlier_actors: Annotated[
        list[str] | None,
        Field(description="who asked for the executions that it repeats; none of them approves it"),
    ] = None
    carried: Annotated[
        dict[str, Any] | None,
        Field(description="step -> output, for the steps that a rerun does not repeat"),
    ] = None
    unknown_fields: list[str] | None = None
    key: Annotated[str | None, Field(description="id of the key that proved the actor")] = None
    signed_at: Annotated[
        int | None, Field(description="when the request was signed, in Unix microseconds")
    ] = None
    claimed_actor: Annotated[
        str | None, Field(description="who a request without a signature says it is from")
    ] = None
    definitions: Annotated[
        dict[str, str] | None,
        Field(description="tool -> digest of its definition; null where no approval is needed"),
    ] = None
    procedure: ProcedureRun | None = None
    started_by: StartedBy | None = None
    via: Annotated[
        str | None, Field(description="id of the key of the API that asked on behalf of the actor")
    ] = None


@dataclass(slots=True)
class Rejected:
    """Nothing was run; either the only event of its id, or the end of an approval."""

    reason: RejectedReason
    message: str
    problems: list[Problem] = field(default_factory=list)
    actor: str | None = None
    name: Annotated[str | None, Field(description="of the plan, where it could be read")] = None
    idempotency_key: str | None = None
    conflicts_with: str | None = None


@dataclass(slots=True)
class Duplicate:
    """The same request came again; nothing was run for it."""

    idempotency_key: str
    actor: str
    requested_execution_id: str | None = None


@dataclass(slots=True)
class Ended:
    """How the execution ended, in numbers."""

    steps: Annotated[dict[str, int], Field(description="steps of the plan by final status")]
    elapsed_seconds: FiniteFloat
    reason: str | None = None
    compensations: Annotated[
        dict[str, int] | None,
        Field(description="steps that undid another one, by final status; null where none ran"),
    ] = None


@dataclass(slots=True)
class Waiting:
    """Why a step that could run does not run yet.

    `no_executor`: nobody claims it; `target_limit`, `rate_limit`: claimed, and held back by its
    executor before anything began; `lock`: another execution has an asset that it needs.
    """

    reason: Literal["no_executor", "target_limit", "rate_limit", "lock"]
    message: str
    until: Timestamp | None = None


@dataclass(slots=True)
class Expanded:
    """A `for_each` step became one step per item, or the steps of a block begin."""

    items: Annotated[int, Field(description="how many steps there are now within it")]
    steps: Annotated[
        list[str],
        Field(description="their ids: of items `scan[0]`, of a block's steps `roll[0].drain`"),
    ]
    values: Annotated[
        list[Any], Field(description="the items, in the same order; empty for a block's steps")
    ]
    tools: Annotated[
        list[str] | None, Field(description="of a block's steps, in the same order")
    ] = None


@dataclass(slots=True)
class Dispatched:
    """A command for this attempt is on its domain topic."""

    tool: str
    domain: str
    topic: str
    parameters: dict[str, Any]
    timeout_seconds: FiniteFloat
    lease_seconds: FiniteFloat
    expires_at: Timestamp
    target: str | None = None
    secret_paths: Annotated[
        tuple[str, ...],
        Field(description="where the parameters refer to secrets, as JSON pointers"),
    ] = ()
    secrets: Annotated[
        dict[str, Any] | None, Field(description="references to secrets beside the parameters")
    ] = None
    fencing_tokens: Annotated[dict[str, int] | None, Field(description="by asset")] = None
    become: dict[str, Any] | None = None
    connection: dict[str, Any] | None = None


@dataclass(slots=True)
class StepStarted:
    """An executor holds the claim."""

    executor: str


@dataclass(slots=True)
class StepProgress:
    """How far the attempt is, at most once a second."""

    percent: FiniteFloat | None = None
    message: str | None = None
    bytes: int = 0


@dataclass(slots=True)
class StepSucceeded:
    """The result of an attempt."""

    duration_seconds: FiniteFloat
    output: Any = None
    stdout: StreamSummary | None = None
    stderr: StreamSummary | None = None
    report: ReportKind = None


@dataclass(slots=True)
class Polled:
    """The attempt succeeded and `until` is not true yet; another attempt will be dispatched."""

    duration_seconds: FiniteFloat
    poll: Annotated[int, Field(description="how many attempts have succeeded")]
    limit: Annotated[int, Field(description="of them, before the step fails")]
    next_attempt: int
    at: Timestamp
    output: Any = None
    stdout: StreamSummary | None = None
    stderr: StreamSummary | None = None
    report: ReportKind = None


@dataclass(slots=True)
class StepFailed:
    """The attempt failed; `final` where no other attempt follows."""

    duration_seconds: FiniteFloat
    error: StepError
    final: bool = True
    evidence: Annotated[
        dict[str, Any] | None,
        Field(description="what was ended, where the executor ended the attempt"),
    ] = None
    output: Any = None
    stdout: StreamSummary | None = None
    stderr: StreamSummary | None = None
    report: ReportKind = None


@dataclass(slots=True)
class RetryScheduled:
    """Another attempt will be dispatched."""

    next_attempt: int
    max_attempts: int
    delay_seconds: FiniteFloat
    at: Timestamp


@dataclass(slots=True)
class StepLost:
    """The lease ended without a report: the outcome of the attempt is unknown."""

    executor: str | None
    lease_seconds: FiniteFloat
    retry_safe: bool


@dataclass(slots=True)
class StepCancelRequested:
    """A stop of the attempt is requested; it ends when its executor reports that."""

    reason: str


@dataclass(slots=True)
class StepCancelled:
    """The step was cancelled; not `confirmed` where an effect may have happened or may still."""

    confirmed: bool
    reason: str
    evidence: dict[str, Any] = field(default_factory=dict)
    output: Any = None
    report: ReportKind = None


@dataclass(slots=True)
class Skipped:
    """The step was not run and will not be."""

    reason: str


@dataclass(slots=True)
class LateResult:
    """A report of an attempt that no longer counts; it changes no status."""

    report: str
    executor: str | None = None
    message: str | None = None
    error: StepError | None = None
    confirmed: bool | None = None
    evidence: dict[str, Any] | None = None


@dataclass(slots=True)
class CompensationScheduled:
    """The step will be undone by a step of its own."""

    by: Annotated[str, Field(description="the id of that step: `<step>.undo`")]
    tool: str | None = None


@dataclass(slots=True)
class CompensationSkipped:
    """There is nothing to undo: the step changed nothing, or the compensation's `when` is false."""

    reason: str


@dataclass(slots=True)
class Compensated:
    """The step was undone; `by` is the step that did, the last one of several items."""

    by: str


@dataclass(slots=True)
class Unknown:
    """The payload of a type that a later version writes."""

    fields: dict[str, Any]


Payload = (
    Nothing | Accepted | Rejected | Duplicate | ApprovalRequested | ApprovalGiven | By | Resumed
    | CancelRequested | SlaBreached | Ended | NeedsAttention | Waiting | Expanded | Dispatched
    | StepStarted | StepProgress | StepSucceeded | StepFailed | RetryScheduled | StepLost
    | StepCancelRequested | Polled | FinallyStarted | StepCancelled | Skipped | LateResult
    | CompensationScheduled | CompensationSkipped | Compensated | Audit | SecretsUsed | Explained
    | LockAcquired | LockEnded | Unknown
)  # fmt: skip

#: Every event type with its payload.
EVENT_TYPES: Final[dict[str, type[Any]]] = {
    "execution.accepted": Accepted,
    "execution.rejected": Rejected,
    "execution.duplicate": Duplicate,
    "execution.explained": Explained,
    "execution.approval_requested": ApprovalRequested,
    "execution.approval_given": ApprovalGiven,
    "execution.approved": By,
    "execution.queued": Nothing,
    "execution.started": Nothing,
    "execution.paused": By,
    "execution.resumed": Resumed,
    "execution.cancel_requested": CancelRequested,
    "execution.needs_attention": NeedsAttention,
    "execution.sla_breached": SlaBreached,
    "execution.finally_started": FinallyStarted,
    "execution.completed": Ended,
    "execution.partial": Ended,
    "execution.failed": Ended,
    "execution.cancelled": Ended,
    "execution.timed_out": Ended,
    "step.waiting": Waiting,
    "step.resumed": Nothing,
    "step.expanded": Expanded,
    "step.dispatched": Dispatched,
    "step.started": StepStarted,
    "step.progress": StepProgress,
    "step.succeeded": StepSucceeded,
    "step.polled": Polled,
    "step.failed": StepFailed,
    "step.retry_scheduled": RetryScheduled,
    "step.timed_out": StepFailed,
    "step.lost": StepLost,
    "step.needs_attention": NeedsAttention,
    "step.cancel_requested": StepCancelRequested,
    "step.cancelled": StepCancelled,
    "step.skipped": Skipped,
    "step.late_result": LateResult,
    "step.compensation_scheduled": CompensationScheduled,
    "step.compensation_skipped": CompensationSkipped,
    "step.compensated": Compensated,
    "lock.acquired": LockAcquired,
    "lock.released": LockEnded,
    "lock.expired": LockEnded,
    "audit.decision": Audit,
    "audit.secret_used": SecretsUsed,
}
