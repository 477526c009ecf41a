"""The lifecycle of executions and steps: statuses, their legal successors, and what events change.

This is the one place that says which status follows from which event. The router decides with it,
and the sink, the projector and the console fold the event log with it, so they always agree.
"""

from __future__ import annotations

from typing import Final, Literal

from streams.control_payloads import Resumed
from streams.events import Event
from streams.payloads import Polled, StepFailed

ExecutionStatus = Literal[
    "pending_approval", "approved", "queued", "running", "paused", "needs_attention",
    "completed", "partial", "failed", "cancelled", "timeout", "rejected",
]  # fmt: skip
StepStatus = Literal[
    "pending", "waiting", "dispatched", "running", "cancelling", "lost", "needs_attention",
    "succeeded", "failed", "timed_out", "cancelled", "skipped", "compensated",
]  # fmt: skip

#: Statuses of an execution from which nothing follows.
ENDED: Final = frozenset({"rejected", "completed", "failed", "cancelled", "timeout", "partial"})
#: The ends after which the same idempotency key starts a new execution.
REPEATABLE: Final = frozenset({"failed", "cancelled"})
#: The ends from which a rerun can start.
RERUNNABLE: Final = frozenset({"failed", "partial", "cancelled", "timeout"})
#: Statuses in which an execution waits for a person: nothing is dispatched.
HELD: Final = frozenset({"pending_approval", "paused", "needs_attention"})

#: Statuses of a step from which nothing follows but a late result or a compensation.
STEP_ENDED: Final = frozenset(
    {"succeeded", "failed", "timed_out", "cancelled", "skipped", "compensated"}
)
STEP_FAILED: Final = frozenset({"failed", "timed_out"})

#: The types that end an execution; nothing but ASIDES follow.
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
#: The types that may follow the end and change no status, and the one that is of no execution.
ASIDES: Final = frozenset(
    {
        "execution.duplicate",
        "execution.explained",
        "step.late_result",
        "audit.decision",
        "audit.secret_used",
    }
)

#: The statuses of an execution and their legal successors.
TRANSITIONS: Final[dict[str, frozenset[str]]] = {
    "pending_approval": frozenset({"approved", "rejected", "cancelled"}),
    "approved": frozenset(
        {"pending_approval", "queued", "running", "cancelled", "paused", "completed", "failed",
         "partial", "timeout"}
    ),
    "queued": frozenset(
        {"running", "cancelled", "timeout", "paused", "completed", "failed", "partial"}
    ),
    "running": frozenset(
        {"completed", "failed", "cancelled", "timeout", "partial", "paused", "needs_attention"}
    ),
    "paused": frozenset(
        {"approved", "queued", "running", "completed", "failed", "cancelled", "timeout", "partial",
         "needs_attention"}
    ),
    "needs_attention": frozenset(
        {"running", "completed", "failed", "cancelled", "timeout", "partial", "paused"}
    ),
    **{status: frozenset() for status in ENDED},
}  # fmt: skip

#: The status of an execution after the event, for the types that set a fixed one.
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

#: The status of a step after the event, for the types that set one; see `step_status`.
STEP_STATUS_AFTER: Final[dict[str, str]] = {
    "step.waiting": "waiting",
    "step.resumed": "running",
    "step.expanded": "running",
    "step.dispatched": "dispatched",
    "step.started": "running",
    "step.cancel_requested": "cancelling",
    "step.succeeded": "succeeded",
    "step.polled": "waiting",
    "step.failed": "failed",
    "step.retry_scheduled": "waiting",
    "step.timed_out": "timed_out",
    "step.lost": "lost",
    "step.needs_attention": "needs_attention",
    "step.cancelled": "cancelled",
    "step.skipped": "skipped",
    "step.compensated": "compensated",
}


class IllegalTransition(Exception):
    """A status that cannot follow was asked for: a defect, never an operating error."""


def execution_status(before: str | None, event: Event) -> str | None:
    """The status of the execution after `event`; `before` where the event does not change it."""
    if isinstance(event.data, Resumed):
        return event.data.status
    return STATUS_AFTER.get(event.type, before)


def check_transition(before: str, after: str) -> None:
    """Raise IllegalTransition where an execution in `before` cannot become `after`."""
    if after != before and after not in TRANSITIONS[before]:
        raise IllegalTransition(f"{before} -> {after}")


def step_status(before: str, event: Event) -> str:
    """The status after `event` of the step that it names; `before` where it changes none.

    After an attempt that another one follows the step waits. A step that is being cancelled
    stays so until its attempt is known to have ended.
    """
    after = STEP_STATUS_AFTER.get(event.type, before)
    if isinstance(event.data, Polled) or (
        isinstance(event.data, StepFailed) and not event.data.final
    ):
        return "waiting"
    if before == "cancelling" and after in ("running", "waiting"):
        return before
    return after


def ends_step(event: Event) -> bool:
    """Whether the step that the event names ends with it, for good."""
    if isinstance(event.data, StepFailed):
        return event.data.final
    return STEP_STATUS_AFTER.get(event.type) in STEP_ENDED
