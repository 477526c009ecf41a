"""Ending: how an execution winds down, stops, undoes and finishes."""

from __future__ import annotations

from typing import Any

from processors.router.dispatching import dispatch, stop_attempt
from processors.router.state import STEP_FAILED, StepState
from processors.router.turn import Turn
from streams.lifecycle import STEP_ENDED


def wind_down(turn: Turn) -> None:
    """The end is asked for: what has not started never will; what runs is being ended."""
    execution = turn.execution
    reason = execution.ending_reason or "the execution was cancelled"
    for step in list(execution.steps.values()):
        if step.status in STEP_ENDED or step.children is not None:
            continue
        if step.in_flight and step.started_at:
            continue
        if step.in_flight:
            stop_attempt(turn, step, step.attempt, "cancelled")
        _cancel(turn, step, reason)
    for step in list(execution.steps.values()):
        if step.children is not None and step.status not in STEP_ENDED:
            names = step.children
            if all(execution.steps[name].status in STEP_ENDED for name in names):
                _cancel(turn, step, reason)
    turn.ended.clear()


def _cancel(turn: Turn, step: StepState, reason: str) -> None:
    turn.emit(
        "step.cancelled",
        {"confirmed": True, "reason": reason, "evidence": {"started": False}},
        step.id,
        step.attempt or None,
    )


def skip_the_rest(turn: Turn) -> None:
    """A step failed for good: what has not started never will."""
    for step in list(turn.execution.steps.values()):
        waits = step.status in ("pending", "waiting") and not step.in_flight
        if waits and step.undoes is None and step.children is None:
            turn.emit("step.skipped", {"reason": "the plan stopped at a failed step"}, step.id)


def compensate(turn: Turn) -> None:
    """Where the plan says so: undo what succeeded, one step after another, the last one first."""
    execution = turn.execution
    ours = [step for step in execution.steps.values() if step.undoes is None]
    if execution.stopping != "compensate" or any(s.status not in STEP_ENDED for s in ours):
        return
    if any(s.undoes is not None and s.status not in STEP_ENDED for s in execution.steps.values()):
        return
    done = [
        step
        for step in execution.steps.values()
        if step.status == "succeeded"
        and step.undoes is None
        and step.children is None
        and execution.spec(step).get("compensate") is not None
        and f"{step.id}.undo" not in execution.steps
    ]
    if not done:
        return
    last = max(done, key=lambda step: (step.ended_at, step.id))
    turn.emit("step.compensation_scheduled", {"by": f"{last.id}.undo"}, last.id)
    turn.dirty[f"{last.id}.undo"] = None
    dispatch(turn, execution.steps[f"{last.id}.undo"])
    if turn.ended:
        turn.ended.clear()
        compensate(turn)


def finish(turn: Turn) -> None:
    """By the reference rule: no failure completes, no success fails, anything else is partial."""
    execution = turn.execution
    counts: dict[str, int] = {}
    for name in execution.specs:
        status = execution.steps[name].status
        counts[status] = counts.get(status, 0) + 1
    began = execution.started_at or execution.accepted_at
    data: dict[str, Any] = {
        "steps": counts,
        "elapsed_seconds": round(turn.now - began, 3),
        "reason": execution.ending_reason,
    }
    if execution.ending is not None:
        kind = "cancelled" if execution.ending == "cancelled" else "timed_out"
    else:
        failed = sum(counts.get(status, 0) for status in ("failed", "timed_out", "cancelled"))
        if not failed:
            kind = "completed"
        else:
            kind = "partial" if counts.get("succeeded") else "failed"
            first = next(s for s in execution.steps.values() if s.error and s.status in STEP_FAILED)
            data["reason"] = f"step {first.id}: {(first.error or {}).get('message')}"
    turn.emit(f"execution.{kind}", data)
