"""Ending: how an execution is cancelled, stops at a failed step, and finishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from processors.router import locks
from processors.router.attempts import ask_to_cancel
from processors.router.decision import Decision
from processors.router.state import Execution, StepState
from streams.lifecycle import STEP_ENDED, STEP_FAILED
from streams.payloads import CancelRequested, Ended, Skipped, StepCancelled

#: Failed compensations that the reason of the end names.
_NAMED = 5


def request_end(
    decision: Decision, ending: Literal["cancelled", "timeout"], actor: str, reason: str
) -> None:
    """Ask for the end: nothing new starts and every attempt in flight is told to stop."""
    decision.emit("execution.cancel_requested", CancelRequested(actor, reason, ending))


def cancel_the_rest(decision: Decision) -> None:
    """The end is asked for: what has not started never will; what is in flight is told to end.

    A step in flight is cancelled when its executor has said so, never before.
    """
    execution = decision.execution
    reason = execution.ending_reason or "the execution was cancelled"
    why = "cancelled" if execution.ending == "cancelled" else "timed_out"
    for step in list(execution.steps.values()):
        if step.status in STEP_ENDED or step.items is not None or step.status == "cancelling":
            continue
        if step.in_flight:
            ask_to_cancel(decision, step, why, reason)
        else:
            _cancel(decision, step, reason)
    for step in list(execution.steps.values()):
        if step.items is not None and step.status not in STEP_ENDED:
            names = step.children
            if all(execution.steps[name].status in STEP_ENDED for name in names):
                _cancel(decision, step, reason)


def _cancel(decision: Decision, step: StepState, reason: str) -> None:
    """End a step of which nothing is in flight; what became of a lost attempt nobody knows."""
    confirmed = step.status not in ("lost", "needs_attention")
    evidence: dict[str, Any] = {"started": False}
    if not confirmed:
        lost = f"attempt {step.attempt} was lost: it may have had its effect, or still have it"
        evidence = {"cancel_unconfirmed": lost, "ended_attempts": step.attempt - 1}
    elif step.attempt:
        evidence = {"ended_attempts": step.attempt}
    data = StepCancelled(confirmed, reason, evidence)
    decision.emit("step.cancelled", data, step.id, step.attempt or None)


def skip_the_rest(decision: Decision) -> None:
    """A step failed for good: what has not started never will."""
    for step in list(decision.execution.steps.values()):
        waits = step.status in ("pending", "waiting") and not step.in_flight
        if waits and step.undoes is None and step.items is None:
            reason = Skipped("the plan stopped at a failed step")
            decision.emit("step.skipped", reason, step.id)


def finish(decision: Decision) -> None:
    """By the reference rule: no failure completes, no success fails, anything else is partial."""
    execution = decision.execution
    locks.release(decision)
    counts = _counts(execution.steps[name] for name in execution.specs)
    undos = [step for step in execution.steps.values() if step.undoes is not None]
    began = execution.started_at or execution.accepted_at
    data = Ended(
        steps=counts,
        elapsed_seconds=round(decision.now - began, 3),
        reason=execution.ending_reason,
        compensations=_counts(undos) if undos else None,
    )
    if execution.ending is not None:
        kind = "cancelled" if execution.ending == "cancelled" else "timed_out"
    elif not any(counts.get(status) for status in ("failed", "timed_out", "cancelled")):
        kind = "completed"
    else:
        kind = "partial" if counts.get("succeeded") else "failed"
        data.reason = _failure(execution, undos)
    decision.emit(f"execution.{kind}", data)


def _counts(steps: Iterable[StepState]) -> dict[str, int]:
    return dict(Counter(step.status for step in steps))


def _failure(execution: Execution, undos: list[StepState]) -> str | None:
    """The step that failed first, and what could not be undone."""
    failed = [s for s in execution.steps.values() if s.status in STEP_FAILED and s.undoes is None]
    reason = None
    if failed:
        first = min(failed, key=lambda step: (step.ended_at, step.id))
        message = first.error["message"] if first.error else "failed"
        reason = f"step {first.id}: {message}"
    left = sorted(step.undoes or "" for step in undos if step.status != "succeeded")
    if left:
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        reason = f"{reason or ''}; not undone: {', '.join(left[:_NAMED])}{more}".lstrip("; ")
    return reason
