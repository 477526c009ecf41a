"""What a schedule is told of the executions that it asked for."""

from __future__ import annotations

from processors.router.decoding import said_by
from processors.router.outcomes import Refuse, Repeat, RequestDecision
from processors.router.state import Execution
from streams.events import Event
from streams.lifecycle import TERMINAL_EVENTS
from streams.schedules import MAX_REASON, StartEnded
from streams.started import StartedBy


def not_started(outcome: RequestDecision, value: bytes | None) -> StartEnded | None:
    """What to say of a request that a router signed and that starts nothing."""
    if isinstance(outcome, Refuse):
        why = outcome.data.message
        return _told(said_by(value).origin, outcome.tenant, outcome.execution_id, "rejected", why)
    if isinstance(outcome, Repeat):
        known = outcome.known
        why = f"this moment was run by {known.id}"
        return _told(said_by(value).origin, known.tenant, known.id, "duplicate", why)
    return None


def ended(execution: Execution, events: list[Event]) -> StartEnded | None:
    """What to say where these events, the last of the execution, end it."""
    if execution.started_by is None or all(event.type not in TERMINAL_EVENTS for event in events):
        return None
    return _told(
        execution.started_by, execution.tenant, execution.id, execution.status,
        execution.ending_reason,
    )  # fmt: skip


def _told(
    origin: StartedBy | None, tenant: str, execution_id: str, status: str, reason: str | None
) -> StartEnded | None:
    if origin is None or origin.kind != "schedule":
        return None
    return StartEnded(
        tenant=tenant,
        name=origin.name,
        execution_id=execution_id,
        cause=origin.cause,
        status=status,
        reason=None if reason is None else reason[:MAX_REASON],
    )
