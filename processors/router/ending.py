"""Ending: how an execution is cancelled, stops at a failed step, and finishes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, Literal

from processors.router import locks
from processors.router.attempts import ask_to_cancel, failed_steps
from processors.router.decision import Decision
from processors.router.state import Execution, StepState
from streams.control_payloads import CancelRequested, FinallyStarted
from streams.lifecycle import STEP_ENDED, STEP_FAILED
from streams.payloads import Ended, Skipped, StepCancelled

#: Failed compensations that the reason of the end names.
_NAMED = 5
#: Ends of a step after which the plan has not been completed.
FAILED = STEP_FAILED | {"cancelled"}

Outcome = Literal["completed", "partial", "failed", "cancelled", "timeout"]


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
    ends = [step for step in execution.steps.values() if execution.ends(step)]
    for step in ends:
        if step.status in STEP_ENDED or step.is_container:
            continue
        if not step.in_flight:
            _cancel(decision, step, reason)
        elif step.status != "cancelling":
            ask_to_cancel(decision, step, why, reason)
    # What is within another comes after it, and ends before it.
    for step in reversed(ends):
        if step.is_container and step.status not in STEP_ENDED:
            names = execution.children(step)
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
    execution = decision.execution
    for step in list(execution.steps.values()):
        waits = step.status in ("pending", "waiting") and not step.in_flight
        idle = waits and step.undoes is None and not step.is_container
        # What runs goes on to its end: a block that was entered, with all of its steps.
        if idle and not execution.is_final(step) and execution.stops(step) is not None:
            reason = Skipped("the plan stopped at a failed step")
            decision.emit("step.skipped", reason, step.id)


def begin_finally(decision: Decision) -> bool:
    """Begin the steps of `finally` once all others have ended; whether they begin now.

    Where nothing was allowed to run there is nothing to tell or to clean up either.
    """
    execution = decision.execution
    finals = [execution.steps[spec.id] for spec in execution.plan.finally_steps]
    if not finals or execution.open_steps > len(finals):
        return False
    if execution.status == "pending_approval":
        for step in finals:
            decision.emit("step.skipped", Skipped("nothing of the plan was run"), step.id)
        return False
    kind, reason = _outcome(execution)
    told = FinallyStarted(kind, reason, failed_steps(execution))
    decision.emit("execution.finally_started", told)
    return True


def finish(decision: Decision) -> None:
    """By the reference rule: no failure completes, no success fails, anything else is partial."""
    execution = decision.execution
    locks.release(decision)
    counts = _counts(execution.steps[spec.id] for spec in execution.plan.roots)
    undos = [step for step in execution.steps.values() if step.undoes is not None]
    began = execution.started_at or execution.accepted_at
    kind, reason = _outcome(execution)
    failed = [s for s in execution.steps.values() if execution.is_final(s) and s.status in FAILED]
    if kind == "completed" and failed:
        # Everything was done; that somebody was not told of it must not pass unseen.
        kind, reason = "partial", _first(failed)
    data = Ended(
        steps=counts,
        elapsed_seconds=round(decision.now - began, 3),
        reason=reason,
        compensations=_counts(undos) if undos else None,
    )
    decision.emit(f"execution.{'timed_out' if kind == 'timeout' else kind}", data)


def _outcome(execution: Execution) -> tuple[Outcome, str | None]:
    """How the execution ends by the steps that are not of `finally`, and why."""
    if execution.ending is not None:
        kind: Outcome = "cancelled" if execution.ending == "cancelled" else "timeout"
        return kind, execution.ending_reason
    counts = _counts(execution.steps[spec.id] for spec in execution.plan.steps)
    if not any(counts.get(status) for status in FAILED):
        return "completed", execution.ending_reason
    undos = [step for step in execution.steps.values() if step.undoes is not None]
    return "partial" if counts.get("succeeded") else "failed", _failure(execution, undos)


def _counts(steps: Iterable[StepState]) -> dict[str, int]:
    return dict(Counter(step.status for step in steps))


def _failure(execution: Execution, undos: list[StepState]) -> str | None:
    """The step that failed first, and what could not be undone."""
    failed = [
        step
        for step in execution.steps.values()
        if step.status in STEP_FAILED and step.undoes is None and not execution.is_final(step)
    ]
    reason = _first(failed)
    left = sorted(step.undoes or "" for step in undos if step.status != "succeeded")
    if left:
        more = f" and {len(left) - _NAMED} more" if len(left) > _NAMED else ""
        reason = f"{reason or ''}; not undone: {', '.join(left[:_NAMED])}{more}".lstrip("; ")
    return reason


def _first(failed: list[StepState]) -> str | None:
    if not failed:
        return None
    first = min(failed, key=lambda step: (step.ended_at, step.id))
    return f"step {first.id}: {first.error['message'] if first.error else 'failed'}"
