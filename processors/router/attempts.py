"""One attempt: how it goes out, how it is told to end, and what follows when it fails.

Retry is decided here and nowhere else (`fail`): another attempt where the error is transient, the
limit allows it and the execution still wants it; else the step has failed for good and, if only
the limit was in the way, goes to the dead letters with all its attempts.
"""

from __future__ import annotations

from typing import Any, Final
from zlib import crc32

import orjson

from processors.router import expressions, locks, policy
from processors.router.decision import CancelAttempt, DeadLetterStep, Decision, Dispatch
from processors.router.state import Execution, StepState
from streams.admitted import AdmittedStep
from streams.ids import attempt_id
from streams.lifecycle import HELD
from streams.limits import MAX_DISPATCH_BYTES, MAX_PARAMETERS_BYTES
from streams.payloads import Dispatched, RetryScheduled, StepCancelRequested, StepFailed
from streams.reports import StepError
from streams.timestamps import iso
from streams.topics import STEPS, Topic
from toolmeta.bind import target_key
from toolmeta.locking import LOCK_NAMES

#: The error classes after which waiting would help nobody.
_AT_ONCE: Final = frozenset({"lost", "executor_stopped", "draining", LOCK_NAMES})
#: How often in a row a step may be sent again with a lock of more names, besides its attempts.
#: Once is enough where the inventory stands still.
MOST_LOCK_NAMES: Final = 3


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
            context = context_of(execution, step)
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
            tokens = locks.fencing_tokens(decision, step, spec, target, context)
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


def may_start(execution: Execution) -> bool:
    """Whether a step that is free may be dispatched."""
    return execution.ending is None and execution.stopping is None and execution.status not in HELD


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


def context_of(execution: Execution, step: StepState) -> dict[str, Any]:
    """What an expression of this step may look at."""
    steps = {}
    for name in execution.specs:
        other = execution.steps[name]
        steps[name] = {"status": other.status, "output": other.output, "error": other.error}
    context: dict[str, Any] = {
        "steps": steps,
        "plan": {"name": execution.plan.name, "environment": execution.environment},
        "execution": {
            "id": execution.id,
            "tenant": execution.tenant,
            "actor": execution.actor,
        },
        "inputs": execution.plan.inputs,
    }
    origin = step
    if step.undoes is not None:
        origin = execution.steps[step.undoes]
        # Of the very step, or the very item, that is undone.
        context["output"] = origin.output
    if origin.parent is not None:
        context["item"] = execution.item(origin)
        context["index"] = origin.index
    return context


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
    wanted = execution.ending is None and (execution.stopping is None or step.undoes is not None)
    attempt = step.attempt
    not_begun = [one.error["class"] == LOCK_NAMES for one in step.failures]
    if data.error["class"] == LOCK_NAMES:
        again = wanted and not (
            len(not_begun) >= MOST_LOCK_NAMES and all(not_begun[-MOST_LOCK_NAMES:])
        )
    else:
        again = transient and wanted and attempt - sum(not_begun) < spec.max_attempts
    data.final = not again
    decision.emit("step.timed_out" if timed_out else "step.failed", data, step.id, attempt)
    if again:
        delay = _delay(execution, step, spec, data)
        retry = RetryScheduled(
            next_attempt=attempt + 1,
            max_attempts=spec.max_attempts,
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


def _delay(execution: Execution, step: StepState, spec: AdmittedStep, data: StepFailed) -> float:
    if data.error["class"] in _AT_ONCE:
        return 0.0
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
