"""What the living executions of a router add up to at a moment: what waits, runs and is late. Pure.

It is worked out in the thread of the health port while the loop goes on deciding: each list is
copied in one step, and each value that changes is read once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from processors.router import policy
from processors.router.sla import sla_deadline
from processors.router.state import Execution, StepState

#: Of a lease less than this part is left: heartbeats come in every third of it, so two are missing.
NEAR_EXPIRY: Final = 1 / 3
#: An execution that is still there so long after its own time limit does not end by itself.
STUCK_SECONDS: Final = 120.0
#: What a step says that it waits for; `retry` is the time before another attempt.
REASONS: Final = ("no_executor", "target_limit", "rate_limit", "lock", "retry")
#: Why somebody has to look at an execution.
STUCK: Final = ("needs_attention", "timer_failed", "overdue")
_CLOCK_STOPS: Final = frozenset({"pending_approval", "paused", "needs_attention"})


@dataclass(slots=True)
class Living:
    """The sums; `oldest` holds moments, in Unix seconds."""

    executions: int = 0
    #: domain -> attempts that are dispatched and not claimed; and when the first of them was.
    queued: Counter[str] = field(default_factory=Counter)
    oldest_queued: dict[str, float] = field(default_factory=dict)
    #: domain -> attempts with a lease, and those whose lease ends soon
    leases: Counter[str] = field(default_factory=Counter)
    near_expiry: Counter[str] = field(default_factory=Counter)
    #: (domain, reason) -> steps that wait
    waiting: Counter[tuple[str, str]] = field(default_factory=Counter)
    approvals: int = 0
    oldest_approval: float | None = None
    #: SLA class -> executions that live on after their deadline
    late: Counter[str] = field(default_factory=Counter)
    stuck: Counter[str] = field(default_factory=Counter)


def add(
    found: Living, executions: Iterable[Execution], suspended: frozenset[str], now: float
) -> None:
    """Add the executions of one partition; `suspended` are those whose timers failed."""
    for execution in executions:
        found.executions += 1
        if execution.status == "pending_approval":
            found.approvals += 1
            found.oldest_approval = min(
                found.oldest_approval or execution.accepted_at, execution.accepted_at
            )
        deadline = sla_deadline(execution)
        if deadline is not None and deadline < now:
            found.late[execution.sla_class] += 1
        if execution.status == "needs_attention":
            found.stuck["needs_attention"] += 1
        if execution.id in suspended:
            found.stuck["timer_failed"] += 1
        if _is_overdue(execution, now):
            found.stuck["overdue"] += 1
        for step in list(execution.steps.values()):
            if step.in_flight or step.waiting is not None or step.retry_at is not None:
                _add_step(found, execution, step, now)


def _is_overdue(execution: Execution, now: float) -> bool:
    """Whether it lives on long after everything of it should have ended."""
    if execution.started_at is None or execution.status in _CLOCK_STOPS:
        return False
    allowed = execution.timeout_seconds + execution.paused_seconds
    if execution.plan.finally_steps:
        allowed += execution.plan.finally_seconds
    # Attempts that are told to end are waited for, at most so long.
    return now > execution.started_at + allowed + policy.OVERDUE_SECONDS + STUCK_SECONDS


def _add_step(found: Living, execution: Execution, step: StepState, now: float) -> None:
    spec = execution.spec(step)
    domain, waiting = spec.domain, step.waiting
    if step.claimed:
        found.leases[domain] += 1
        if step.lease_until - now < spec.lease_seconds * NEAR_EXPIRY:
            found.near_expiry[domain] += 1
    elif step.in_flight:
        found.queued[domain] += 1
        dispatched = step.dispatched_at
        found.oldest_queued[domain] = min(found.oldest_queued.get(domain, dispatched), dispatched)
    if waiting in REASONS:
        found.waiting[domain, waiting] += 1
    elif not step.in_flight and step.retry_at is not None:
        found.waiting[domain, "retry"] += 1
