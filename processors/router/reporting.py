"""Reporting: what the router makes of an executor's report.

A report counts only for the attempt that is out. One that was applied already is ignored; one of
an attempt that no longer counts is written down as `step.late_result` and changes nothing.
"""

from __future__ import annotations

from typing import Any, Final

from processors.router.dispatching import fail, stop_attempt
from processors.router.schedule import advance
from processors.router.state import ENDED, StepState
from processors.router.turn import Turn
from streams.reports import (
    AnyReport,
    Cancelled,
    Failed,
    Heartbeat,
    Refused,
    Resumed,
    Started,
    Succeeded,
    Waiting,
)

#: Progress becomes an event at most this often, in seconds.
PROGRESS_EVERY: Final = 1.0
#: How many late reports of one step are written down.
MAX_LATE: Final = 10


def apply_report(turn: Turn, report: AnyReport) -> None:
    """Apply one report to the execution of this turn."""
    step = turn.execution.steps.get(report.step)
    if step is None:
        return
    if not step.in_flight or report.attempt != step.attempt or turn.execution.status in ENDED:
        _late(turn, step, report)
        return
    if isinstance(report, Waiting | Resumed):
        return
    if isinstance(report, Heartbeat):
        _heartbeat(turn, step, report)
        return
    if isinstance(report, Started):
        _started(turn, step, report)
    elif isinstance(report, Succeeded):
        _running(turn)
        turn.emit("step.succeeded", _result(report), step.id, report.attempt)
    elif isinstance(report, Failed):
        _failed(turn, step, report)
    elif isinstance(report, Cancelled):
        _cancelled(turn, step, report)
    else:
        _refused(turn, step, report)
    advance(turn)


def _started(turn: Turn, step: StepState, report: Started) -> None:
    if step.started_at:
        return
    _running(turn)
    turn.emit("step.started", {"executor": report.executor}, step.id, report.attempt)
    step.lease_until = turn.now + turn.execution.spec(step)["lease_seconds"]


def _running(turn: Turn) -> None:
    """The first attempt that starts makes the execution run."""
    if turn.execution.status in ("approved", "queued"):
        turn.emit("execution.started")


def _heartbeat(turn: Turn, step: StepState, report: Heartbeat) -> None:
    step.lease_until = turn.now + turn.execution.spec(step)["lease_seconds"]
    told = (report.percent, report.message)
    if told in ((None, None), step.progress) or turn.now - step.progress_at < PROGRESS_EVERY:
        return
    step.progress, step.progress_at = told, turn.now
    data = {"percent": report.percent, "message": report.message, "bytes": report.bytes}
    turn.emit("step.progress", data, step.id, report.attempt)


def _result(report: Succeeded | Failed | Cancelled) -> dict[str, Any]:
    data: dict[str, Any] = {"duration_seconds": report.duration_seconds, "output": report.output}
    if report.stdout is not None:
        data["stdout"] = report.stdout.model_dump()
    if report.stderr is not None:
        data["stderr"] = report.stderr.model_dump()
    return data


def _failed(turn: Turn, step: StepState, report: Failed) -> None:
    _running(turn)
    error = report.error.model_dump(by_alias=True)
    kind = "step.timed_out" if report.timed_out else "step.failed"
    fail(turn, step, kind, {**_result(report), "error": error})


def _cancelled(turn: Turn, step: StepState, report: Cancelled) -> None:
    execution = turn.execution
    if execution.ending is None:
        # Nobody asked for it, so the step is not done with.
        error = {
            "class": "stopped",
            "message": f"{report.executor} stopped the attempt without being asked to",
            "transient": execution.spec(step)["retry_safe"],
        }
        fail(turn, step, "step.failed", {**_result(report), "error": error})
        return
    reason = execution.ending_reason or "the attempt was stopped"
    data = {"confirmed": report.confirmed, "reason": reason, "evidence": report.evidence}
    turn.emit("step.cancelled", data, step.id, report.attempt)


def _refused(turn: Turn, step: StepState, report: Refused) -> None:
    if turn.execution.ending is not None:
        data = {"confirmed": True, "reason": report.message, "evidence": {"started": False}}
        turn.emit("step.cancelled", data, step.id, report.attempt)
        return
    # Nothing was started, so a new attempt is safe unless the command itself is at fault.
    error = {
        "class": "expired" if report.reason == "expired" else report.reason,
        "message": report.message,
        "transient": report.reason != "invalid",
    }
    kind = "step.timed_out" if report.reason == "expired" else "step.failed"
    fail(turn, step, kind, {"duration_seconds": 0.0, "error": error})


def _late(turn: Turn, step: StepState, report: AnyReport) -> None:
    if isinstance(report, Heartbeat):
        return
    if isinstance(report, Started) and step.attempt == report.attempt and not step.in_flight:
        if step.executor == report.executor:
            return  # Applied before; the attempt has ended since.
    elif _applied(step, report):
        return
    told = f"{report.attempt}:{report.type}"
    if told in step.late or len(step.late) >= MAX_LATE:
        return
    message = None
    if isinstance(report, Started):
        message = "it was claimed after it had been given up; the executor is told to end it"
        stop_attempt(turn, step, report.attempt, "superseded")
    data = {"report": report.type, "executor": report.executor, "message": message}
    turn.emit("step.late_result", data, step.id, report.attempt)


def _applied(step: StepState, report: AnyReport) -> bool:
    """Whether this is the repetition of the report that ended the attempt."""
    if report.attempt < step.attempt:
        return any(failure["attempt"] == report.attempt for failure in step.failures)
    return {
        "succeeded": isinstance(report, Succeeded),
        "compensated": isinstance(report, Succeeded),
        "failed": isinstance(report, Failed | Refused),
        "timed_out": isinstance(report, Failed | Refused),
        "waiting": isinstance(report, Failed | Refused),
        "cancelled": isinstance(report, Cancelled | Refused),
    }.get(step.status, False)
