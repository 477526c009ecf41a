"""Dispatching: an attempt goes out, and what follows when it comes to nothing."""

from __future__ import annotations

from typing import Any
from zlib import crc32

from processors.router import expressions, policy
from processors.router.state import Execution, StepState
from processors.router.turn import Dispatch, Exhaust, Stop, Turn
from streams.ids import attempt_id
from streams.timestamps import iso
from streams.topics import STEPS


def dispatch(turn: Turn, step: StepState) -> None:
    """Send the next attempt of a step to its domain."""
    execution = turn.execution
    spec = execution.spec(step)
    parameters = spec["parameters"]
    if spec["references"]:
        try:
            parameters = expressions.render(parameters, context_of(execution, step, None))
        except expressions.ExpressionError as error:
            fail_unstarted(turn, step, "reference", str(error))
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


def fail_unstarted(turn: Turn, step: StepState, error_class: str, message: str) -> None:
    """The step cannot be sent out at all; another attempt would not help."""
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
