"""Deadlines: every timer of an execution, as a function of its state.

Nothing is scheduled anywhere: after a restart the same state gives the same timers. Only leases
start again, since they are renewed in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from processors.router import locks, policy
from processors.router.attempts import cancel_attempt, fail
from processors.router.decision import Decision
from processors.router.ending import request_end
from processors.router.evolve import renew_lease
from processors.router.scheduling import advance, retry
from processors.router.sla import breach_due
from processors.router.state import Execution, StepState
from streams.control_payloads import NeedsAttention
from streams.lifecycle import ENDED
from streams.payloads import Rejected, StepCancelled, StepFailed, StepLost, Waiting
from streams.reports import StepError
from streams.timestamps import iso

#: After this many seconds without a claim a step says that no executor takes it.
UNCLAIMED_SECONDS: Final = 10.0
#: How long the executors have to answer that an attempt which nobody claimed is not started.
STOP_SECONDS: Final = 30.0
#: What an executor says while it holds back an attempt that it claimed.
_HELD_BACK: Final = frozenset({"target_limit", "rate_limit"})
#: What is due and decides nothing is looked at again after so many seconds, for at most so long.
_AGAIN_SECONDS: Final = 0.05
_UNDECIDED_SECONDS: Final = 1.0
_NO_TIMERS: Final = frozenset({"paused", "needs_attention"})


def next_deadline(execution: Execution, steps: Iterable[StepState] | None = None) -> float | None:
    """The next moment at which time alone changes the execution, in Unix seconds.

    With `steps` only those and the execution itself are looked at.
    """
    if execution.status in ENDED:
        return None
    earliest = _execution_deadline(execution)
    renewal = execution.renew_at
    if renewal is not None and (earliest is None or renewal < earliest):
        earliest = renewal
    breached = breach_due(execution)
    if breached is not None and (earliest is None or breached < earliest):
        earliest = breached
    for step in execution.steps.values() if steps is None else steps:
        if step.in_flight or step.retry_at is not None:
            due = _step_deadline(execution, step)
            if due is not None and (earliest is None or due < earliest):
                earliest = due
    return earliest


def _execution_deadline(execution: Execution) -> float | None:
    if execution.status == "pending_approval":
        return execution.approval_expires_at
    if execution.outcome is not None:
        if execution.finally_ending or (
            execution.ending is None and execution.status in _NO_TIMERS
        ):
            return None
        return execution.finally_at + execution.plan.finally_seconds
    if execution.ending is not None or execution.status in _NO_TIMERS:
        return None
    if execution.started_at is None:
        return None
    return execution.started_at + execution.timeout_seconds + execution.paused_seconds


def _step_deadline(execution: Execution, step: StepState) -> float | None:
    if step.claimed:
        began = step.started_at
        if step.status == "cancelling":
            # No report moves this: whoever lives on after the request to end is given up.
            began = min(began, step.cancelling_at)
        elif step.waiting in _HELD_BACK:
            return step.lease_until
        limit = began + execution.spec(step).timeout_seconds
        return min(step.lease_until, limit + policy.OVERDUE_SECONDS)
    if step.in_flight:
        if step.status == "cancelling":
            return step.cancelling_at + STOP_SECONDS
        if step.waiting is None:
            return step.dispatched_at + UNCLAIMED_SECONDS
        return step.dispatched_at + policy.QUEUE_SECONDS + STOP_SECONDS
    return None if execution.status in _NO_TIMERS else step.retry_at


def restore_leases(execution: Execution, now: float) -> None:
    """After a restart every running attempt gets a whole lease, and locks are renewed."""
    locks.restored(execution, now)
    for step in execution.steps.values():
        if step.claimed:
            renew_lease(step, now + execution.spec(step).lease_seconds)


def decide_deadline(execution: Execution, now: float) -> Decision:
    """Everything whose moment has come."""
    decision = Decision(execution, now)
    decision.tell_breach()
    due = _execution_deadline(execution)
    if due is not None and due <= now:
        if execution.status == "pending_approval":
            data = Rejected(
                "approval_expired", "nobody approved it in time", name=execution.plan.name
            )
            decision.emit("execution.rejected", data)
            return decision
        seconds, what = execution.timeout_seconds, "the execution"
        if execution.outcome is not None:
            seconds, what = execution.plan.finally_seconds, "its finally"
        reason = f"{what} ran longer than its {seconds:g} s"
        request_end(decision, "timeout", "runstream", reason)
    renews = execution.renew_at is not None and execution.renew_at <= now
    if renews:
        locks.renew(decision)
    for step in list(execution.steps.values()):
        due = _step_deadline(execution, step)
        if due is not None and due <= now:
            _step_due(decision, step)
    advance(decision, everything=renews)
    return decision


def look_again(decision: Decision) -> float | None:
    """The next deadline after what was due is decided; raises RuntimeError where it stays due.

    A timer that is due for ever would take all the time of its router.
    """
    due, now = next_deadline(decision.execution), decision.now
    if due is None or due > now or decision.events:
        return due
    if due < now - _UNDECIDED_SECONDS:
        raise RuntimeError("what is due decides nothing")
    return now + _AGAIN_SECONDS


def _step_due(decision: Decision, step: StepState) -> None:
    if not step.in_flight:
        retry(decision, step)
    elif step.status == "cancelling":
        _unconfirmed(decision, step)
    elif not step.claimed:
        _unclaimed(decision, step)
    elif step.lease_until <= decision.now:
        _lose(decision, step)
    else:
        _overdue(decision, step)


def _unconfirmed(decision: Decision, step: StepState) -> None:
    """Nobody said that the attempt has ended, or that it was never started."""
    doubt = "its executor did not answer"
    if step.executor is None:
        doubt = "no executor answered; one that still holds the command refuses it"
    evidence: dict[str, Any] = {"cancel_unconfirmed": doubt, "executor": step.executor}
    reason = decision.execution.ending_reason or "the execution was cancelled"
    data = StepCancelled(False, reason, evidence)
    decision.emit("step.cancelled", data, step.id, step.attempt)


def _unclaimed(decision: Decision, step: StepState) -> None:
    spec = decision.execution.spec(step)
    waited = decision.now - step.dispatched_at
    if waited < policy.QUEUE_SECONDS:
        message = (
            f"no executor has claimed it for {waited:.0f} s; "
            f"is `runstream executor --domain {spec.domain}` running?"
        )
        until = iso(step.dispatched_at + policy.QUEUE_SECONDS)
        waiting = Waiting("no_executor", message, until)
        decision.emit("step.waiting", waiting, step.id, step.attempt)
        return
    message = f"no executor of domain {spec.domain} claimed it for {waited:.0f} s"
    error: StepError = {"class": "expired", "message": message, "transient": False}
    cancel_attempt(decision, step, step.attempt, "superseded")
    fail(decision, step, StepFailed(0.0, error), timed_out=True)


def _lose(decision: Decision, step: StepState) -> None:
    """The lease is over without a word. A new attempt only where repeating is declared safe."""
    execution = decision.execution
    spec = execution.spec(step)
    attempt, executor = step.attempt, step.executor
    lost = StepLost(executor, spec.lease_seconds, spec.retry_safe)
    decision.emit("step.lost", lost, step.id, attempt)
    cancel_attempt(decision, step, attempt, "superseded")
    if spec.retry_safe:
        message = f"the executor {executor} stopped answering"
        error: StepError = {"class": "lost", "message": message, "transient": True}
        seconds = round(decision.now - step.started_at, 3)
        fail(decision, step, StepFailed(seconds, error))
        return
    message = (
        f"attempt {attempt} of {step.id} was lost with {executor}, and {spec.tool} is not "
        f"safe to repeat; resolve it as succeeded, failed or retry"
    )
    attention = NeedsAttention(message)
    decision.emit("step.needs_attention", attention, step.id, attempt)
    if execution.status == "running":
        decision.emit("execution.needs_attention", attention)


def _overdue(decision: Decision, step: StepState) -> None:
    """Its executor renews the lease but never ends it, long after the timeout."""
    spec = decision.execution.spec(step)
    error: StepError = {
        "class": "timed_out",
        "message": f"it ran longer than its {spec.timeout_seconds:g} s",
        "transient": spec.retry_safe,
    }
    cancel_attempt(decision, step, step.attempt, "timed_out")
    seconds = round(decision.now - step.started_at, 3)
    fail(decision, step, StepFailed(seconds, error), timed_out=True)
