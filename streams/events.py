"""Events: what happened to an execution, numbered 1..n without gap, written by the router only."""

from __future__ import annotations

from typing import Any, Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from streams.reports import StepError, StreamSummary

_OPEN = ConfigDict(extra="allow", allow_inf_nan=False, frozen=True)


class Event(BaseModel):
    """One event, as it stands on `execution.events`."""

    model_config = _OPEN

    execution_id: str
    seq: int = Field(ge=1)
    type: str
    at: AwareDatetime
    tenant: str
    step: str | None = None
    attempt: int | None = None
    data: dict[str, Any] = Field(default_factory=dict)


class _Data(BaseModel):
    model_config = _OPEN


class Nothing(_Data):
    """An event whose type says it all."""


class Accepted(_Data):
    """The plan is in; from here on it ends in exactly one terminal event."""

    plan: dict[str, Any] = Field(description="as admitted: ids and canonical tool names filled in")
    plan_hash: str
    name: str | None
    actor: str
    environment: str
    idempotency_key: str
    sla_class: str
    mode: str
    action_class: str
    priority: int
    timeout_seconds: float = Field(description="for the whole execution, from its first start")
    sla_seconds: float
    approval_level: int
    rerun_of: str | None = None
    carried: dict[str, Any] | None = Field(
        default=None, description="step → output, for the steps that a rerun does not repeat"
    )
    unknown_fields: list[str] | None = None


class Problem(_Data):
    """One reason for a rejection: the field and what to do about it."""

    field: str
    message: str


class Rejected(_Data):
    """Nothing was run; either the only event of its id, or the end of an approval."""

    reason: Literal["invalid", "conflict", "too_large", "not_approved", "approval_expired"]
    message: str
    problems: list[Problem] = Field(default_factory=list)
    actor: str | None = None
    idempotency_key: str | None = None
    conflicts_with: str | None = None


class Duplicate(_Data):
    """The same request came again; nothing was run for it."""

    idempotency_key: str
    requested_execution_id: str | None = None
    actor: str


class ApprovalRequested(_Data):
    """The execution waits for somebody else's approval."""

    level: int
    plan_hash: str
    requested_by: str
    expires_at: AwareDatetime


class By(_Data):
    """Something an actor asked for."""

    actor: str
    reason: str | None = None


class Resumed(By):
    """Dispatching goes on; `status` is what the execution is from here."""

    status: Literal["approved", "queued", "running"]


class CancelRequested(By):
    """The end is asked for; what is in flight ends first, then the terminal event follows."""

    ending: Literal["cancelled", "timeout"]


class Ended(_Data):
    """How the execution ended, in numbers."""

    steps: dict[str, int] = Field(description="count by final status")
    elapsed_seconds: float
    reason: str | None = None


class NeedsAttention(_Data):
    """The outcome of an attempt is unknown; an operator must resolve it."""

    message: str


class Waiting(_Data):
    """Why a step does not run yet."""

    reason: Literal["dependency", "approval", "backoff", "paused", "max_parallel", "no_executor"]
    message: str
    until: AwareDatetime | None = None


class Expanded(_Data):
    """A `for_each` step became one step per item."""

    items: int
    steps: list[str] = Field(description="the ids of the items, such as `scan[0]`")
    values: list[Any] = Field(description="the items, in the same order")


class Dispatched(_Data):
    """A command for this attempt is on its domain topic."""

    tool: str
    domain: str
    topic: str
    parameters: dict[str, Any]
    target: str | None
    timeout_seconds: float
    lease_seconds: float
    expires_at: AwareDatetime


class StepStarted(_Data):
    """An executor holds the claim."""

    executor: str


class StepProgress(_Data):
    """How far the attempt is, at most once a second."""

    percent: float | None = None
    message: str | None = None
    bytes: int = 0


class StepEnded(_Data):
    """The result of an attempt."""

    duration_seconds: float
    output: Any = None
    stdout: StreamSummary | None = None
    stderr: StreamSummary | None = None


class StepFailed(StepEnded):
    """The attempt failed; `final` where no other attempt follows."""

    error: StepError
    final: bool


class RetryScheduled(_Data):
    """Another attempt will be dispatched."""

    next_attempt: int
    max_attempts: int
    delay_seconds: float
    at: AwareDatetime


class StepLost(_Data):
    """The lease ended without a word: nobody knows what became of the attempt."""

    executor: str | None
    lease_seconds: float
    retry_safe: bool


class StepCancelled(_Data):
    """The attempt or step was cancelled."""

    confirmed: bool
    reason: str
    evidence: dict[str, Any] = Field(default_factory=dict)


class Skipped(_Data):
    """The step was not run and will not be."""

    reason: str


class LateResult(_Data):
    """A report of an attempt that no longer counts; it changes nothing."""

    report: str
    executor: str | None = None
    message: str | None = None


class CompensationScheduled(_Data):
    """The step will be undone by a step of its own."""

    by: str = Field(description="the id of that step: `<step>.undo`")


class Compensated(_Data):
    """The step was undone."""

    by: str


class Audit(_Data):
    """A decision about authority."""

    actor: str
    action: str
    allowed: bool
    message: str | None = None


#: Every event type with the shape of its data.
EVENT_TYPES: Final[dict[str, type[BaseModel]]] = {
    "execution.accepted": Accepted,
    "execution.rejected": Rejected,
    "execution.duplicate": Duplicate,
    "execution.approval_requested": ApprovalRequested,
    "execution.approved": By,
    "execution.queued": Nothing,
    "execution.started": Nothing,
    "execution.paused": By,
    "execution.resumed": Resumed,
    "execution.cancel_requested": CancelRequested,
    "execution.needs_attention": NeedsAttention,
    "execution.completed": Ended,
    "execution.partial": Ended,
    "execution.failed": Ended,
    "execution.cancelled": Ended,
    "execution.timed_out": Ended,
    "step.waiting": Waiting,
    "step.expanded": Expanded,
    "step.dispatched": Dispatched,
    "step.started": StepStarted,
    "step.progress": StepProgress,
    "step.succeeded": StepEnded,
    "step.failed": StepFailed,
    "step.retry_scheduled": RetryScheduled,
    "step.timed_out": StepFailed,
    "step.lost": StepLost,
    "step.needs_attention": NeedsAttention,
    "step.cancelled": StepCancelled,
    "step.skipped": Skipped,
    "step.late_result": LateResult,
    "step.compensation_scheduled": CompensationScheduled,
    "step.compensated": Compensated,
    "audit.decision": Audit,
}

#: The types that end an execution; nothing but duplicates, late results and audits follow.
TERMINAL_EVENTS: Final = frozenset(
    {
        "execution.rejected",
        "execution.completed",
        "execution.partial",
        "execution.failed",
        "execution.cancelled",
        "execution.timed_out",
    }
)

#: Execution status after the event, for the events that change it.
STATUS_AFTER: Final[dict[str, str]] = {
    "execution.accepted": "approved",
    "execution.rejected": "rejected",
    "execution.approval_requested": "pending_approval",
    "execution.approved": "approved",
    "execution.queued": "queued",
    "execution.started": "running",
    "execution.paused": "paused",
    "execution.needs_attention": "needs_attention",
    "execution.completed": "completed",
    "execution.partial": "partial",
    "execution.failed": "failed",
    "execution.cancelled": "cancelled",
    "execution.timed_out": "timeout",
}

#: Step status after the event, for the events that change it.
STEP_STATUS_AFTER: Final[dict[str, str]] = {
    "step.waiting": "waiting",
    "step.expanded": "running",
    "step.dispatched": "dispatched",
    "step.started": "running",
    "step.succeeded": "succeeded",
    "step.failed": "failed",
    "step.retry_scheduled": "waiting",
    "step.timed_out": "timed_out",
    "step.lost": "lost",
    "step.needs_attention": "needs_attention",
    "step.cancelled": "cancelled",
    "step.skipped": "skipped",
    "step.compensated": "compensated",
}

#: Step statuses from which nothing follows but a late result or a compensation.
STEP_ENDED: Final = frozenset(
    {"succeeded", "failed", "timed_out", "cancelled", "skipped", "compensated"}
)
