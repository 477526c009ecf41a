"""Deadlines: every timer of an execution, as a function of its state.

Nothing is scheduled anywhere: after a restart the same state gives the same timers. Only leases
start afresh, since they are renewed in memory.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from processors.router import policy
from processors.router.dispatching import fail, stop_attempt
from processors.router.schedule import advance, retry
from processors.router.state import ENDED, Execution, StepState
from processors.router.turn import Turn
from streams.timestamps import iso

#: After this many seconds without a claim a step says that no executor takes it.
UNCLAIMED_SECONDS: Final = 10.0
#: How long an executor has to end an attempt that it was told to end.
STOP_SECONDS: Final = 30.0


def next_deadline(execution: Execution, steps: Iterable[StepState] | None = None) -> float | None:
    """The next moment at which time alone changes the execution, in Unix seconds.

    With `steps` only those and the execution itself are looked at.
    """
    if execution.status in ENDED:
        return None
    earliest = _execution_deadline(execution)
    for step in execution.steps.values() if steps is None else steps:
        if step.in_flight or step.retry_at is not None:
            moment = _step_deadline(execution, step)
            if moment is not None and (earliest is None or moment < earliest):
                earliest = moment
    return earliest


def _execution_deadline(execution: Execution) -> float | None:
    if execution.status == "pending_approval":
        return execution.approval_expires_at
    if execution.ending is not None or execution.status in ("paused", "needs_attention"):
        return None
    if execution.started_at is None:
        return None
    return execution.started_at + execution.timeout_seconds + execution.paused_seconds


def _step_deadline(execution: Execution, step: StepState) -> float | None:
    if step.in_flight:
        spec = execution.spec(step)
        if step.started_at:
            overdue = float(step.started_at + spec["timeout_seconds"] + policy.OVERDUE_SECONDS)
            return min(step.lease_until, overdue)
        if step.waiting is None:
            return step.dispatched_at + UNCLAIMED_SECONDS
        return step.dispatched_at + policy.QUEUE_SECONDS + STOP_SECONDS
    if step.retry_at is not None and execution.status not in ("paused", "needs_attention"):
        return step.retry_at
    return None


def restore_leases(execution: Execution, now: float) -> None:
    """After a restart every running attempt gets a whole lease."""
    for step in execution.steps.values():
        if step.in_flight and step.started_at:
            step.lease_until = now + execution.spec(step)["lease_seconds"]


def tick(turn: Turn) -> None:
    """Do everything whose moment has come."""
    execution = turn.execution
    due = _execution_deadline(execution)
    if due is not None and due <= turn.now:
        if execution.status == "pending_approval":
            _expire_approval(turn)
            return
        seconds = execution.timeout_seconds
        end_execution(
            turn, "timeout", "runstream", f"the execution ran longer than its {seconds:g} s"
        )
    for step in list(execution.steps.values()):
        moment = _step_deadline(execution, step)
        if moment is not None and moment <= turn.now:
            _step_due(turn, step)
    advance(turn)


def end_execution(turn: Turn, ending: str, actor: str, reason: str) -> None:
    """Ask for the end: nothing new starts and every running attempt is told to stop."""
    execution = turn.execution
    data = {"actor": actor, "reason": reason, "ending": ending}
    turn.emit("execution.cancel_requested", data)
    for step in execution.steps.values():
        if step.in_flight and step.started_at:
            why = "cancelled" if ending == "cancelled" else "timed_out"
            stop_attempt(turn, step, step.attempt, why)


def _expire_approval(turn: Turn) -> None:
    data = {"reason": "approval_expired", "message": "nobody approved it in time", "problems": []}
    turn.emit("execution.rejected", data)


def _step_due(turn: Turn, step: StepState) -> None:
    if not step.in_flight:
        retry(turn, step)
    elif not step.started_at:
        _unclaimed(turn, step)
    elif turn.execution.ending is not None:
        data: dict[str, Any] = {
            "confirmed": False,
            "reason": "its executor did not answer",
            "evidence": {"cancel_unconfirmed": True, "executor": step.executor},
        }
        turn.emit("step.cancelled", data, step.id, step.attempt)
    elif step.lease_until <= turn.now:
        _lose(turn, step)
    else:
        _overdue(turn, step)


def _unclaimed(turn: Turn, step: StepState) -> None:
    spec = turn.execution.spec(step)
    waited = turn.now - step.dispatched_at
    if waited < policy.QUEUE_SECONDS:
        message = (
            f"no executor has claimed it for {waited:.0f} s; "
            f"is `runstream executor --domain {spec['domain']}` running?"
        )
        data = {
            "reason": "no_executor",
            "message": message,
            "until": iso(step.dispatched_at + policy.QUEUE_SECONDS),
        }
        turn.emit("step.waiting", data, step.id, step.attempt)
        return
    error = {
        "class": "expired",
        "message": f"no executor of domain {spec['domain']} claimed it for {waited:.0f} s",
        "transient": False,
    }
    stop_attempt(turn, step, step.attempt, "superseded")
    fail(turn, step, "step.timed_out", {"duration_seconds": 0.0, "error": error})


def _lose(turn: Turn, step: StepState) -> None:
    """The lease is over without a word. A new attempt only where repeating is declared safe."""
    execution = turn.execution
    spec = execution.spec(step)
    safe = spec["retry_safe"]
    attempt = step.attempt
    data = {
        "executor": step.executor,
        "lease_seconds": spec["lease_seconds"],
        "retry_safe": safe,
    }
    turn.emit("step.lost", data, step.id, attempt)
    stop_attempt(turn, step, attempt, "superseded")
    if safe:
        message = f"the executor {step.executor} stopped answering"
        error = {"class": "lost", "message": message, "transient": True}
        duration = round(turn.now - step.started_at, 3)
        fail(turn, step, "step.failed", {"duration_seconds": duration, "error": error})
        return
    message = (
        f"attempt {attempt} of {step.id} was lost with {step.executor}, and {spec['tool']} is not "
        f"safe to repeat; resolve it as succeeded, failed or retry"
    )
    turn.emit("step.needs_attention", {"message": message}, step.id, attempt)
    if execution.status == "running":
        turn.emit("execution.needs_attention", {"message": message})


def _overdue(turn: Turn, step: StepState) -> None:
    """Its executor renews the lease but never ends it, long after the timeout."""
    spec = turn.execution.spec(step)
    error = {
        "class": "timed_out",
        "message": f"it ran longer than its {spec['timeout_seconds']:g} s",
        "transient": spec["retry_safe"],
    }
    stop_attempt(turn, step, step.attempt, "timed_out")
    duration = round(turn.now - step.started_at, 3)
    fail(turn, step, "step.timed_out", {"duration_seconds": duration, "error": error})
