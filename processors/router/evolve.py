"""Evolve: the state after an event. The only place where an execution changes.

The state is changed in place, since the caller owns it; everything the new state needs is in the
event, so folding the log gives the state again.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from processors.router.state import (
    ENDED,
    TRANSITIONS,
    Execution,
    StepState,
    link,
)
from streams.lifecycle import STATUS_AFTER, STEP_ENDED
from streams.timestamps import unix

#: Statuses in which the execution waits for a person, and its timeout with it.
_HELD: Final = frozenset({"paused", "needs_attention"})


class IllegalTransition(Exception):
    """The decider asked for a status that cannot follow: a defect, never an operating error."""


def accepted(event: dict[str, Any], at: float) -> Execution:
    """The state after `execution.accepted`, the first event of every admitted execution."""
    data = event["data"]
    execution = Execution(
        id=event["execution_id"],
        tenant=event["tenant"],
        actor=data["actor"],
        idempotency_key=data["idempotency_key"],
        plan=data["plan"],
        plan_hash=data["plan_hash"],
        mode=data["mode"],
        sla_class=data["sla_class"],
        action_class=data["action_class"],
        environment=data["environment"],
        priority=data["priority"],
        timeout_seconds=data["timeout_seconds"],
        approval_level=data["approval_level"],
        accepted_at=at,
        seq=event["seq"],
        rerun_of=data.get("rerun_of"),
        steps={spec["id"]: StepState(spec["id"]) for spec in data["plan"]["steps"]},
    )
    for name, output in (data.get("carried") or {}).items():
        step = execution.steps[name]
        step.status = "succeeded"
        step.output = output
        step.ended_at = at
    link(execution)
    return execution


def evolve(execution: Execution, event: dict[str, Any], at: float) -> None:
    """Apply one event; `at` is the event's moment in Unix seconds."""
    kind: str = event["type"]
    execution.seq = event["seq"]
    status = STATUS_AFTER.get(kind)
    if status is not None:
        _move(execution, status, event["data"], at)
    elif kind == "execution.resumed":
        _resume(execution, event["data"]["status"], at)
    elif kind == "execution.cancel_requested":
        execution.ending = event["data"]["ending"]
        execution.ending_reason = event["data"]["reason"]
    else:
        apply = _STEP.get(kind)
        if apply is not None:
            apply(execution, execution.steps[event["step"]], event, at)


def _move(execution: Execution, status: str, data: dict[str, Any], at: float) -> None:
    # The request for approval follows the acceptance at once; that is no edge of its own.
    asked = status == "pending_approval" and execution.status == "approved"
    legal = asked or status == execution.status or status in TRANSITIONS[execution.status]
    if not legal:
        raise IllegalTransition(f"{execution.id}: {execution.status} -> {status}")
    if status in _HELD:
        execution.paused_at = execution.paused_at or at
    elif execution.paused_at is not None:
        _go_on(execution, at)
    execution.status = status
    if status == "pending_approval":
        execution.approval_expires_at = unix(data["expires_at"])
    elif status == "running" and execution.started_at is None:
        execution.started_at = at
    elif status in ENDED:
        execution.ended_at = at


def _resume(execution: Execution, status: str, at: float) -> None:
    _go_on(execution, at)
    execution.status = status


def _go_on(execution: Execution, at: float) -> None:
    """The time that it was held does not count against its timeout."""
    execution.paused_seconds += at - (execution.paused_at or at)
    execution.paused_at = None


def _settle(execution: Execution, step: StepState, status: str, at: float) -> None:
    """End a step; those that waited for it wait for one less."""
    was_ended = step.status in STEP_ENDED
    step.status = status
    step.in_flight = False
    step.retry_at = None
    step.waiting = None
    step.ended_at = at
    if not was_ended:
        execution.open_steps -= 1
        for dependent in execution.dependents.get(step.id, ()):
            execution.unmet[dependent] -= 1


def _waiting(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.waiting = event["data"]["reason"]
    step.status = "waiting"


def _expanded(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    data = event["data"]
    step.status = "running"
    step.started_at = at
    step.waiting = None
    step.children = data["steps"]
    for index, (name, item) in enumerate(zip(data["steps"], data["values"], strict=True)):
        execution.steps[name] = StepState(name, parent=step.id, index=index, item=item)
    execution.open_steps += len(data["steps"])


def _dispatched(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.status = "dispatched"
    step.attempt = event["attempt"]
    step.in_flight = True
    step.dispatched_at = at
    step.started_at = 0.0
    step.executor = None
    step.retry_at = None
    step.waiting = None
    step.progress = None


def _started(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.status = "running"
    step.executor = event["data"]["executor"]
    step.started_at = at
    step.waiting = None


def _succeeded(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.output = event["data"].get("output")
    step.error = None
    _settle(execution, step, "succeeded", at)


def _failed(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    data = event["data"]
    step.error = data["error"]
    step.output = data.get("output")
    if "attempt" in event:
        step.failures.append(
            {"attempt": event["attempt"], "at": event["at"], "error": data["error"]}
        )
    if data["final"]:
        _settle(execution, step, event["type"].removeprefix("step."), at)
        _stop(execution, step)
    else:
        step.in_flight = False


def _stop(execution: Execution, step: StepState) -> None:
    """A final failure stops the plan unless it says otherwise."""
    if step.undoes is None and execution.stopping != "compensate":
        wish = execution.specs[step.parent or step.id]["on_failure"]
        if wish != "continue":
            execution.stopping = wish


def _retry(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.status = "waiting"
    step.waiting = "backoff"
    step.in_flight = False
    step.retry_at = unix(event["data"]["at"])


def _lost(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.status = "lost"
    step.in_flight = False


def _attention(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.status = "needs_attention"
    step.in_flight = False


def _cancelled(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    _settle(execution, step, "cancelled", at)


def _skipped(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    _settle(execution, step, "skipped", at)


def _compensated(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.status = "compensated"


def _late(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    step.late.append(f"{event['attempt']}:{event['data']['report']}")


def _undo(execution: Execution, step: StepState, event: dict[str, Any], at: float) -> None:
    name = event["data"]["by"]
    execution.steps[name] = StepState(name, undoes=step.id)
    execution.open_steps += 1


_Apply = Callable[[Execution, StepState, dict[str, Any], float], None]
_STEP: Final[dict[str, _Apply]] = {
    "step.waiting": _waiting,
    "step.expanded": _expanded,
    "step.dispatched": _dispatched,
    "step.started": _started,
    "step.succeeded": _succeeded,
    "step.failed": _failed,
    "step.timed_out": _failed,
    "step.retry_scheduled": _retry,
    "step.lost": _lost,
    "step.needs_attention": _attention,
    "step.cancelled": _cancelled,
    "step.skipped": _skipped,
    "step.compensation_scheduled": _undo,
    "step.compensated": _compensated,
    "step.late_result": _late,
}
