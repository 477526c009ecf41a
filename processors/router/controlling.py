"""Controlling: what the router makes of an operator's command."""

from __future__ import annotations

from typing import Any

from processors.router.deadlines import end_execution
from processors.router.dispatching import fail
from processors.router.schedule import advance
from processors.router.state import ENDED, Execution
from processors.router.turn import Turn
from streams.commands import Approve, Cancel, Pause, Reject, Resolve, Resume
from streams.timestamps import iso


def audit(turn: Turn, actor: str, action: str, allowed: bool, message: str) -> None:
    """Write down a decision about authority."""
    data = {"actor": actor, "action": action, "allowed": allowed, "message": message}
    turn.emit("audit.decision", data)


def apply_control(
    turn: Turn, command: Cancel | Approve | Reject | Pause | Resume | Resolve
) -> None:
    """Apply one command; a refusal is an `audit.decision` that says why."""
    refusal = _refusal(turn.execution, command)
    if refusal is not None:
        audit(turn, command.actor, command.type, False, refusal)
        return
    by = {"actor": command.actor, "reason": command.reason}
    match command:
        case Cancel():
            reason = command.reason or f"cancelled by {command.actor}"
            end_execution(turn, "cancelled", command.actor, reason)
            advance(turn)
        case Approve():
            turn.emit("execution.approved", by)
            advance(turn, everything=True)
        case Reject():
            message = command.reason or f"{command.actor} rejected it"
            turn.emit(
                "execution.rejected",
                {"reason": "not_approved", "message": message, "problems": [],
                 "actor": command.actor},
            )  # fmt: skip
        case Pause():
            turn.emit("execution.paused", by)
        case Resume():
            _resume(turn, by)
        case Resolve():
            _resolve(turn, command, by)


def _refusal(execution: Execution, command: Any) -> str | None:
    """Why the command cannot be followed, or None."""
    status = execution.status
    if status in ENDED:
        return f"the execution has ended as {status}"
    if isinstance(command, Cancel):
        return "its end is already asked for" if execution.ending else None
    if isinstance(command, Approve | Reject):
        if status != "pending_approval":
            return f"it does not wait for approval; it is {status}"
        if isinstance(command, Approve):
            if command.actor == execution.actor:
                return f"{command.actor} asked for this execution and cannot approve it"
            if command.plan_hash not in (None, execution.plan_hash):
                return f"the plan has another hash now: {execution.plan_hash}"
        return None
    if execution.ending is not None:
        return "its end is already asked for"
    if isinstance(command, Pause):
        return None if status in ("approved", "queued", "running") else f"it is {status}"
    if isinstance(command, Resume):
        return None if status == "paused" else f"it is not paused but {status}"
    step = execution.steps.get(command.step)
    if step is None:
        return f"there is no step {command.step}"
    if step.status != "needs_attention":
        return f"step {command.step} does not need attention; it is {step.status}"
    return None


def _unfrozen(execution: Execution) -> str:
    """What an execution is once nothing holds it."""
    if execution.started_at is not None or any(s.started_at for s in execution.steps.values()):
        return "running"
    if execution.mode == "background" and any(s.attempt for s in execution.steps.values()):
        return "queued"
    return "approved"


def _resume(turn: Turn, by: dict[str, Any]) -> None:
    execution = turn.execution
    status = _unfrozen(execution)
    turn.emit("execution.resumed", {**by, "status": status})
    if status == "running" and execution.started_at is None:
        turn.emit("execution.started")
    lost = [step for step in execution.steps.values() if step.status == "needs_attention"]
    if lost:
        message = f"{len(lost)} steps need attention: {', '.join(step.id for step in lost[:5])}"
        turn.emit("execution.needs_attention", {"message": message})
    advance(turn, everything=True)


def _resolve(turn: Turn, command: Resolve, by: dict[str, Any]) -> None:
    execution = turn.execution
    step = execution.steps[command.step]
    audit(turn, command.actor, "resolve", True, f"{command.step} is {command.outcome}")
    data: dict[str, Any] = {"duration_seconds": 0.0, "output": command.output}
    if command.outcome == "succeeded":
        turn.emit("step.succeeded", data, step.id, step.attempt)
    else:
        error = {
            "class": "resolved",
            "message": f"{command.actor} resolved it as {command.outcome}",
            # Another attempt is what the operator asked for, whatever the limit says.
            "transient": False,
        }
        if command.outcome == "retry":
            turn.emit(
                "step.failed", {**data, "error": error, "final": False}, step.id, step.attempt
            )
            _retry_now(turn, step.id, step.attempt)
        else:
            fail(turn, step, "step.failed", {**data, "error": error})
    still = any(other.status == "needs_attention" for other in execution.steps.values())
    if execution.status == "needs_attention" and not still:
        turn.emit("execution.resumed", {**by, "status": "running"})
    advance(turn, everything=True)


def _retry_now(turn: Turn, step: str, attempt: int) -> None:
    turn.emit(
        "step.retry_scheduled",
        {
            "next_attempt": attempt + 1,
            "max_attempts": attempt + 1,
            "delay_seconds": 0.0,
            "at": iso(turn.now),
        },
        step,
        attempt,
    )
