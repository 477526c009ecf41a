"""Schedule: which steps may run now, and how an execution ends.

`advance` is called after every change. It looks only at what the change can have set free, so a
plan of a thousand steps costs no more per report than one of five.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

from processors.router import expressions, policy
from processors.router.state import STEP_ENDED, STEP_FAILED, Execution, StepState
from processors.router.turn import Dispatch, Exhaust, Stop, Turn
from streams.ids import attempt_id
from streams.moments import iso
from streams.plans import MAX_STEPS
from streams.topics import STEPS

_HELD: Final = frozenset({"pending_approval", "paused", "needs_attention"})


def advance(turn: Turn, *, everything: bool = False) -> None:
    """Dispatch what is free, and end the execution when nothing is left.

    `everything` looks at every step, for the moments after which any step may be free: admission,
    approval, resumption, resolution.
    """
    execution = turn.execution
    if execution.ended_at is not None:
        return
    if everything and execution.status not in _HELD:
        _start_all(turn)
    while turn.ended:
        _after(turn, turn.ended.pop())
    if execution.ending is not None:
        _wind_down(turn)
    elif execution.stopping is not None and execution.status != "needs_attention":
        _stop_plan(turn)
    if execution.open_steps == 0:
        _finish(turn)


def _may_start(execution: Execution) -> bool:
    return execution.ending is None and execution.stopping is None and execution.status not in _HELD


def _start_all(turn: Turn) -> None:
    execution = turn.execution
    for name in list(execution.specs):
        step = execution.steps[name]
        if step.status == "pending" and execution.unmet[name] == 0 and _may_start(execution):
            _start(turn, step)
        elif step.children is not None and step.status == "running":
            _start_items(turn, step)
    for step in list(execution.steps.values()):
        if step.undoes is not None and step.status == "pending":
            _dispatch(turn, step)


def _after(turn: Turn, name: str) -> None:
    """Look at what the end of one step sets free."""
    execution = turn.execution
    step = execution.steps[name]
    if step.parent is not None:
        _after_item(turn, execution.steps[step.parent])
        return
    if step.undoes is not None:
        if step.status == "succeeded":
            turn.emit("step.compensated", {"by": step.id}, step.undoes)
        return
    for dependent in execution.dependents[name]:
        waiting = execution.steps[dependent]
        if (
            waiting.status == "pending"
            and execution.unmet[dependent] == 0
            and _may_start(execution)
        ):
            _start(turn, waiting)


def _start(turn: Turn, step: StepState) -> None:
    """Start a step of the plan: its condition, its items, or the step itself."""
    spec = turn.execution.specs[step.id]
    try:
        if spec.get("when") is not None:
            context = context_of(turn.execution, step, spec["when"])
            if not expressions.condition(spec["when"], context):
                turn.emit("step.skipped", {"reason": "its condition is false"}, step.id)
                return
        if spec.get("for_each") is not None:
            _expand(turn, step, spec)
            return
    except expressions.ExpressionError as error:
        _fail_unstarted(turn, step, "expression", str(error))
        return
    _dispatch(turn, step)


def _expand(turn: Turn, step: StepState, spec: dict[str, Any]) -> None:
    source = spec["for_each"]
    if isinstance(source, str):
        text = source if "{{" in source else "{{" + source + "}}"
        items = expressions.render(text, context_of(turn.execution, step, source))
    else:
        items = expressions.render(source, context_of(turn.execution, step, None))
    if not isinstance(items, list):
        raise expressions.ExpressionError(
            f"for_each gives {type(items).__name__}, and a list is needed"
        )
    if len(turn.execution.steps) + len(items) > 2 * MAX_STEPS:
        raise expressions.ExpressionError(
            f"for_each gives {len(items)} items; an execution holds at most {2 * MAX_STEPS} steps"
        )
    names = [f"{step.id}[{index}]" for index in range(len(items))]
    data = {"items": len(items), "steps": names, "values": items}
    turn.emit("step.expanded", data, step.id)
    # All of them, since the execution may have become too large for the changelog's short form.
    turn.dirty.update(dict.fromkeys(turn.execution.steps))
    if names:
        _start_items(turn, step)
    else:
        turn.emit(
            "step.succeeded",
            {"duration_seconds": 0.0, "output": {"items": [], "count": 0}},
            step.id,
        )


def _start_items(turn: Turn, parent: StepState) -> None:
    execution = turn.execution
    items = [execution.steps[name] for name in parent.children or ()]
    limit = execution.specs[parent.id].get("max_parallel") or len(items)
    busy = sum(item.status not in STEP_ENDED and item.status != "pending" for item in items)
    for item in items:
        if busy >= limit or not _may_start(execution):
            return
        if item.status == "pending":
            _dispatch(turn, item)
            busy += item.status not in STEP_ENDED


def _after_item(turn: Turn, parent: StepState) -> None:
    """An item ended: start the next one, or end the step when all have ended."""
    execution = turn.execution
    if parent.status in STEP_ENDED:
        return
    items = [execution.steps[name] for name in parent.children or ()]
    if any(item.status not in STEP_ENDED for item in items):
        _start_items(turn, parent)
        return
    output = {"items": [item.output for item in items], "count": len(items)}
    failed = [item.id for item in items if item.status in STEP_FAILED]
    duration = round(turn.now - parent.started_at, 3)
    if failed:
        error = {
            "class": "items_failed",
            "message": f"{len(failed)} of {len(items)} items failed: {', '.join(failed[:5])}",
            "transient": False,
        }
        data = {"duration_seconds": duration, "output": output, "error": error, "final": True}
        turn.emit("step.failed", data, parent.id)
    elif any(item.status in ("cancelled", "skipped") for item in items):
        turn.emit("step.skipped", {"reason": "not all of its items were run"}, parent.id)
    else:
        turn.emit("step.succeeded", {"duration_seconds": duration, "output": output}, parent.id)


def context_of(execution: Execution, step: StepState, text: str | None) -> dict[str, Any]:
    """What an expression of this step may look at; only the steps that `text` names, if given."""
    named = expressions.step_references(text) if text is not None else None
    names = named or set(execution.specs)
    steps = {}
    for name in names:
        other = execution.steps.get(name)
        if other is not None:
            steps[name] = {"status": other.status, "output": other.output, "error": other.error}
    context: dict[str, Any] = {
        "steps": steps,
        "plan": {"name": execution.plan.get("name"), "environment": execution.environment},
        "execution": {
            "id": execution.id,
            "tenant": execution.tenant,
            "actor": execution.actor,
        },
    }
    origin = step if step.undoes is None else execution.steps[step.undoes]
    if origin.parent is not None:
        context["item"] = origin.item
        context["index"] = origin.index
    return context


def _dispatch(turn: Turn, step: StepState) -> None:
    """Send the next attempt of a step to its domain."""
    execution = turn.execution
    spec = execution.spec(step)
    parameters = spec["parameters"]
    if spec["references"]:
        try:
            parameters = expressions.render(parameters, context_of(execution, step, None))
        except expressions.ExpressionError as error:
            _fail_unstarted(turn, step, "reference", str(error))
            return
    if execution.mode == "background" and execution.status == "approved":
        turn.emit("execution.queued")
    attempt = step.attempt + 1
    lane = "immediate" if execution.mode == "immediate" else "bulk"
    topic = STEPS[spec["domain"], lane]
    target = _target(spec, parameters)
    expires_at = iso(turn.now + policy.QUEUE_SECONDS)
    turn.emit(
        "step.dispatched",
        {
            "tool": spec["tool"],
            "domain": spec["domain"],
            "topic": topic.name,
            "parameters": parameters,
            "target": target,
            "timeout_seconds": spec["timeout_seconds"],
            "lease_seconds": spec["lease_seconds"],
            "expires_at": expires_at,
        },
        step.id,
        attempt,
    )
    command = {
        "execution_id": execution.id,
        "step": step.id,
        "attempt": attempt,
        "tool": spec["tool"],
        "domain": spec["domain"],
        "parameters": parameters,
        "tenant": execution.tenant,
        "actor": execution.actor,
        "environment": execution.environment,
        "target": target,
        "timeout_seconds": spec["timeout_seconds"],
        "lease_seconds": spec["lease_seconds"],
        "dispatched_at": iso(turn.now),
        "expires_at": expires_at,
    }
    for optional in ("assets", "secrets"):
        if spec.get(optional):
            command[optional] = spec[optional]
    turn.effects.append(Dispatch(topic, target or execution.id, command))


def _target(spec: dict[str, Any], parameters: dict[str, Any]) -> str | None:
    for name in spec["target_parameters"]:
        value = parameters.get(name)
        if isinstance(value, str) and value:
            return value
    assets = spec.get("assets")
    return assets[0] if assets else None


def retry(turn: Turn, step: StepState) -> None:
    """The back-off of a step is over."""
    if _may_start(turn.execution) or step.undoes is not None:
        _dispatch(turn, step)


def _fail_unstarted(turn: Turn, step: StepState, error_class: str, message: str) -> None:
    error = {"class": error_class, "message": message, "transient": False}
    turn.emit(
        "step.failed",
        {"duration_seconds": 0.0, "error": error, "final": True},
        step.id,
        step.attempt or None,
    )


def fail(turn: Turn, step: StepState, kind: str, data: dict[str, Any]) -> None:
    """An attempt failed: another one if that may help and is allowed, else the step has failed.

    `data` holds the report's `error`, and `output`, `duration_seconds` and streams where known.
    """
    execution = turn.execution
    spec = execution.spec(step)
    error = data["error"]
    limit = spec["max_attempts"]
    wanted = execution.ending is None and (execution.stopping is None or step.undoes is not None)
    again = bool(error["transient"]) and step.attempt < limit and wanted
    attempt = step.attempt
    turn.emit(kind, {**data, "final": not again}, step.id, attempt)
    if again:
        delay = _delay(execution, step, spec, data)
        turn.emit(
            "step.retry_scheduled",
            {
                "next_attempt": attempt + 1,
                "max_attempts": limit,
                "delay_seconds": delay,
                "at": iso(round(turn.now + delay, 3)),
            },
            step.id,
            attempt,
        )
    elif error["transient"] and wanted:
        _exhaust(turn, step, spec)


def _delay(
    execution: Execution, step: StepState, spec: dict[str, Any], data: dict[str, Any]
) -> float:
    if data["error"]["class"] in ("lost", "executor_stopped", "draining"):
        return 0.0
    jitter = crc32(attempt_id(execution.id, step.id, step.attempt).encode()) / 2**32
    delay = policy.backoff_seconds(
        spec["backoff_seconds"], spec["max_backoff_seconds"], step.attempt, jitter
    )
    asked = (data.get("output") or {}).get("retry_after_seconds")
    if isinstance(asked, int | float) and 0 < asked <= 3_600:
        delay = max(delay, float(asked))
    return delay


def _exhaust(turn: Turn, step: StepState, spec: dict[str, Any]) -> None:
    execution = turn.execution
    lane = "immediate" if execution.mode == "immediate" else "bulk"
    command = {
        "execution_id": execution.id,
        "step": step.id,
        "attempt": step.attempt,
        "tool": spec["tool"],
        "domain": spec["domain"],
        "tenant": execution.tenant,
        "parameters": spec["parameters"],
    }
    key = _target(spec, spec["parameters"]) or execution.id
    turn.effects.append(Exhaust(STEPS[spec["domain"], lane], key, command, step.failures))


def stop_attempt(turn: Turn, step: StepState, attempt: int, reason: str) -> None:
    """Tell whoever runs, or might still claim, this attempt to end it."""
    turn.effects.append(
        Stop(
            {
                "execution_id": turn.execution.id,
                "step": step.id,
                "attempt": attempt,
                "reason": reason,
                "grace_seconds": 5.0,
                "at": iso(turn.now),
            }
        )
    )


def _wind_down(turn: Turn) -> None:
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


def _stop_plan(turn: Turn) -> None:
    """A step failed for good: skip what has not started; undo what the plan says to undo."""
    execution = turn.execution
    for step in list(execution.steps.values()):
        waits = step.status in ("pending", "waiting") and not step.in_flight
        if waits and step.undoes is None and step.children is None:
            turn.emit("step.skipped", {"reason": "the plan stopped at a failed step"}, step.id)
    while turn.ended:
        _after(turn, turn.ended.pop())
    running = [s for s in execution.steps.values() if s.undoes is None]
    if execution.stopping == "compensate" and all(s.status in STEP_ENDED for s in running):
        _compensate(turn)


def _compensate(turn: Turn) -> None:
    """Undo what succeeded, one step after another, the last one first."""
    execution = turn.execution
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
    _dispatch(turn, execution.steps[f"{last.id}.undo"])
    if turn.ended:
        turn.ended.clear()
        _compensate(turn)


def _finish(turn: Turn) -> None:
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
