"""One attempt: how it goes out, how it is told to end, and what follows when it fails.

Retry is decided here and nowhere else (`fail`): another attempt where the error is transient, the
limit allows it and the execution still wants it; else the step has failed for good and, if only
the limit was in the way, goes to the dead letters with all its attempts.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final
from zlib import crc32

import orjson

from processors.router import locks, policy
from processors.router.decision import CancelAttempt, DeadLetterStep, Decision, Dispatch
from processors.router.state import Execution, StepState
from runtime.cel import expressions
from streams.admitted import AdmittedStep
from streams.control_payloads import FailedStep
from streams.ids import attempt_id
from streams.lifecycle import HELD, STEP_FAILED
from streams.limits import MAX_DISPATCH_BYTES, MAX_PARAMETERS_BYTES
from streams.payloads import (
    Dispatched,
    RetryScheduled,
    StepCancelRequested,
    StepFailed,
)
from streams.reports import StepError
from streams.timestamps import iso
from streams.topics import STEPS, Topic
from toolmeta import targets
from toolmeta.bind import target_key
from toolmeta.locking import LOCK_NAMES

#: The error classes after which waiting would help nobody.
_AT_ONCE: Final = frozenset({"lost", "executor_stopped", "draining", LOCK_NAMES})
#: How often in a row a step may be sent again with a lock of more names, besides its attempts.
#: Once is enough where the inventory stands still.
MOST_LOCK_NAMES: Final = 3
#: What the steps of `finally` are told of those that failed: so many, and of each message so much.
MOST_FAILED: Final = 20
_FAILED_MESSAGE: Final = 300


def dispatch(decision: Decision, step: StepState) -> None:
    """Send the next attempt of a step to its domain, or fail the step where that cannot be.

    A step that needs a lock which the execution does not hold stays as it is, and asks for it.
    """
    execution = decision.execution
    spec = execution.spec(step)
    parameters = spec.parameters
    context: dict[str, Any] | None = None
    size = 0
    if spec.references:
        try:
            context = context_of(execution, step, decision.now)
            parameters = expressions.render(parameters, context, decision.spent)
        except expressions.ExpressionError as error:
            error_class = "reference" if error.error_class == "expression" else error.error_class
            fail_unstarted(decision, step, error_class, str(error))
            return
        size = len(orjson.dumps(parameters))
        if size > MAX_PARAMETERS_BYTES:
            message = (
                f"its parameters have {size} bytes after their references are resolved; "
                f"{MAX_PARAMETERS_BYTES} are allowed: refer to a part of the output"
            )
            fail_unstarted(decision, step, "too_large", message)
            return
    elif step.parent is not None:
        size = len(orjson.dumps(parameters))
    target = _target(spec, parameters)
    tokens: dict[str, int] | None = None
    if spec.locks:
        try:
            named = [target, *targets.listed(spec.targets, parameters)]
            tokens = locks.fencing_tokens(decision, step, spec, named, context)
        except locks.TooManyLocks as error:
            fail_unstarted(decision, step, "too_large", str(error))
            return
        if tokens is None:
            return
    if decision.dispatched_bytes + size > MAX_DISPATCH_BYTES:
        message = (
            f"the parameters of what is due together have more than {MAX_DISPATCH_BYTES} bytes: "
            "set max_parallel, or refer to a part of the output"
        )
        fail_unstarted(decision, step, "too_large", message)
        return
    decision.dispatched_bytes += size
    if execution.mode == "background" and execution.status == "approved":
        decision.emit("execution.queued")
    attempt = step.attempt + 1
    topic = _topic(execution, spec)
    expires_at = iso(decision.now + policy.QUEUE_SECONDS)
    data = Dispatched(
        tool=spec.tool,
        domain=spec.domain,
        topic=topic.name,
        parameters=parameters,
        timeout_seconds=spec.timeout_seconds,
        lease_seconds=spec.lease_seconds,
        expires_at=expires_at,
        target=target,
        secret_paths=spec.secret_paths,
        secrets=spec.secrets,
        fencing_tokens=tokens or None,
        become=spec.become,
        connection=spec.connection,
    )
    decision.emit("step.dispatched", data, step.id, attempt)
    command = Dispatch(
        topic, spec, step.id, attempt, parameters, target, expires_at, tokens or None
    )
    decision.effects.append(command)


def may_start(execution: Execution, step: StepState) -> bool:
    """Whether a step that is free may be dispatched."""
    if execution.is_final(step):
        # A cancel ends what is paused, and `finally` has its turn after that.
        held = execution.status in HELD and execution.ending is None
        if held or execution.outcome is None or execution.finally_ending:
            return False
    elif execution.ending is not None or execution.status in HELD:
        return False
    return execution.stops(step) is None


def _topic(execution: Execution, spec: AdmittedStep) -> Topic:
    return STEPS[spec.domain, "immediate" if execution.mode == "immediate" else "bulk"]


def _target(spec: AdmittedStep, parameters: dict[str, Any]) -> str | None:
    for name in spec.target:
        target = target_key(parameters.get(name))
        if target is not None:
            return target
    if spec.target_default is not None:
        return spec.target_default
    return target_key(spec.assets[0]) if spec.assets else None


def context_of(execution: Execution, step: StepState, now: float) -> dict[str, Any]:
    """What an expression of this step may look at."""
    around = list(execution.around(step))
    steps = {spec.id: _seen(execution.steps[spec.id]) for spec in execution.plan.roots}
    for block in reversed(around[1:]):
        if block.entered:
            inner = execution.specs[block.path].steps
            steps |= {spec.id: _seen(execution.steps[f"{block.id}.{spec.id}"]) for spec in inner}
    context: dict[str, Any] = {
        "steps": steps,
        "plan": {"name": execution.plan.name, "environment": execution.environment},
        "execution": {
            "id": execution.id,
            "tenant": execution.tenant,
            "actor": execution.actor,
        },
        "inputs": execution.plan.inputs,
        expressions.NOW: now,
    }
    if execution.outcome is not None:
        context["execution"] |= _outcome(execution)
    if step.undoes is not None:
        # Of the very step, or the very item, that is undone.
        context["output"] = around[0].output
    items: dict[str, Any] = {}
    for one in reversed(around):
        if one.is_item:
            values = execution.steps[one.parent or ""].items or ()
            context["item"], context["index"] = values[one.index], one.index
            items[execution.specs[one.path].id] = values[one.index]
    if items:
        context["items"] = items
    return context


def _seen(step: StepState) -> dict[str, Any]:
    return {"status": step.status, "output": step.output, "error": step.error}


def _outcome(execution: Execution) -> dict[str, Any]:
    """What a step of `finally` is told: how the execution ends, and what failed."""
    failed = [asdict(step) for step in failed_steps(execution)]
    reason = execution.ending_reason or execution.outcome_reason or ""
    return {"status": execution.outcome, "reason": reason, "failed_steps": failed}


def failed_steps(execution: Execution) -> list[FailedStep]:
    """The first steps that failed for good, without the blocks and lists that they are in."""
    failed = [
        step
        for step in execution.steps.values()
        if step.status in STEP_FAILED and not step.is_container and not execution.is_final(step)
    ]
    failed.sort(key=lambda step: (step.ended_at, step.id))
    found = (failed_step(execution, step) for step in failed[:MOST_FAILED])
    return [one for one in found if one is not None]


def failed_step(execution: Execution, step: StepState) -> FailedStep | None:
    """What is told of a step that failed: its error, and the item that it was for."""
    if step.error is None:
        return None
    item = None
    for one in execution.around(step):
        if one.is_item:
            item = (execution.steps[one.parent or ""].items or ())[one.index]
            break
    if len(orjson.dumps(item)) > _FAILED_MESSAGE:
        item = None
    message = step.error["message"][:_FAILED_MESSAGE]
    return FailedStep(step.id, step.error["class"], message, item)


def fail_unstarted(decision: Decision, step: StepState, error_class: str, message: str) -> None:
    """The step cannot be sent out at all; another attempt would not help."""
    error: StepError = {"class": error_class, "message": message[:2_000], "transient": False}
    data = StepFailed(duration_seconds=0.0, error=error, final=True)
    decision.emit("step.failed", data, step.id, step.attempt or None)


def fail(decision: Decision, step: StepState, data: StepFailed, *, timed_out: bool = False) -> None:
    """An attempt failed: another one if that may help and is allowed, else the step has failed.

    `data.final` is decided here.
    """
    execution = decision.execution
    spec = execution.spec(step)
    transient = bool(data.error.get("transient"))
    going_on = execution.stops(step) is None or step.undoes is not None
    wanted = going_on and not execution.ends(step)
    attempt = step.attempt
    not_begun = [one.error["class"] == LOCK_NAMES for one in step.failures]
    if data.error["class"] == LOCK_NAMES:
        again = wanted and not (
            len(not_begun) >= MOST_LOCK_NAMES and all(not_begun[-MOST_LOCK_NAMES:])
        )
    else:
        failed = attempt - step.polls - sum(not_begun)
        again = transient and wanted and failed < _most_failed(step, spec)
    data.final = not again
    decision.emit("step.timed_out" if timed_out else "step.failed", data, step.id, attempt)
    if again:
        delay = _delay(execution, step, spec, data)
        retry = RetryScheduled(
            next_attempt=attempt + 1,
            max_attempts=spec.max_attempts if spec.until is None else spec.until.limit,
            delay_seconds=delay,
            at=iso(round(decision.now + delay, 3)),
        )
        decision.emit("step.retry_scheduled", retry, step.id, attempt)
    elif transient and wanted:
        topic = _topic(execution, spec)
        target = _target(spec, spec.parameters)
        decision.effects.append(
            DeadLetterStep(topic, spec, step.id, attempt, target, step.failures)
        )


def _most_failed(step: StepState, spec: AdmittedStep) -> int:
    """How many attempts may fail before the step has; of `until` all that are left of its limit.

    Whatever cannot be asked yet (a service that is being started) is asked again.
    """
    return spec.max_attempts if spec.until is None else spec.until.limit - step.polls


def _delay(execution: Execution, step: StepState, spec: AdmittedStep, data: StepFailed) -> float:
    if data.error["class"] in _AT_ONCE:
        return 0.0
    if spec.until is not None:
        return spec.until.interval_seconds
    jitter = crc32(attempt_id(execution.id, step.id, step.attempt).encode()) / 2**32
    delay = policy.backoff_seconds(
        spec.backoff_seconds, spec.max_backoff_seconds, step.attempt, jitter
    )
    asked = data.output.get("retry_after_seconds") if isinstance(data.output, dict) else None
    if isinstance(asked, int | float) and 0 < asked <= 3_600:
        delay = max(delay, float(asked))
    return delay


def cancel_attempt(
    decision: Decision,
    step: StepState,
    attempt: int,
    reason: str,
    executor: str | None = None,
) -> None:
    """Tell whoever runs, or might still claim, this attempt to end it; or one instance only."""
    decision.effects.append(CancelAttempt(step.id, attempt, reason, executor))


def ask_to_cancel(decision: Decision, step: StepState, why: str, reason: str) -> None:
    """The attempt in flight is to end; the step has ended when its executor says so."""
    decision.emit("step.cancel_requested", StepCancelRequested(reason), step.id, step.attempt)
    cancel_attempt(decision, step, step.attempt, why)
