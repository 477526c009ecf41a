"""Conditions over what a step gave back: `check` and `until`, evaluated when an attempt succeeds.

The attempt has succeeded for its executor. Whether that is what the plan wants is decided here,
before anything is written: the step succeeds, fails as `check_failed`, or is repeated.
"""

from __future__ import annotations

from typing import Any, Final

from processors.router.attempts import context_of, fail
from processors.router.decision import Decision
from processors.router.state import StepState
from runtime.cel import expressions
from streams.admitted import AdmittedStep, Until
from streams.payloads import Polled, StepFailed, StepSucceeded
from streams.reports import StepError
from streams.timestamps import iso
from toolmeta.locking import LOCK_NAMES

_MESSAGE_LENGTH: Final = 2_000


def succeeded(decision: Decision, step: StepState, data: StepSucceeded) -> None:
    """An attempt succeeded: the step has, unless its `until` or its `check` says otherwise."""
    spec = decision.execution.spec(step)
    if spec.check is None and spec.until is None:
        decision.emit("step.succeeded", data, step.id, step.attempt)
        return
    context = {**context_of(decision.execution, step, decision.now), "output": data.output}
    try:
        error = _refusal(decision, step, spec, context, data)
    except expressions.ExpressionError as failure:
        error = _error(failure.error_class, str(failure))
    if error is None:
        decision.emit("step.succeeded", data, step.id, step.attempt)
    elif error["class"] != _AGAIN:
        failed = StepFailed(
            data.duration_seconds, error, output=data.output, stdout=data.stdout,
            stderr=data.stderr, report=data.report,
        )  # fmt: skip
        fail(decision, step, failed)


#: In the place of an error: the step was told to wait.
_AGAIN: Final = ""


def _refusal(
    decision: Decision,
    step: StepState,
    spec: AdmittedStep,
    context: dict[str, Any],
    data: StepSucceeded,
) -> StepError | None:
    """Why the step has not succeeded, None where it has; raises ExpressionError."""
    until, check = spec.until, spec.check
    if until is not None and not expressions.condition(until.condition, context, decision.spent):
        not_begun = sum(one.error["class"] == LOCK_NAMES for one in step.failures)
        if step.attempt - not_begun < until.limit:
            _again(decision, step, until, data)
            return _error(_AGAIN, "")
        said = f"`{until.condition}` was not true after {until.limit} attempts"
        return _error("until_failed", message_of(decision, until.message, context, said))
    if check is not None and not expressions.condition(check.condition, context, decision.spent):
        said = f"`{check.condition}` does not hold"
        message = message_of(decision, check.message, context, said)
        return _error("check_failed", message, transient=check.retry)
    return None


def _error(error_class: str, message: str, *, transient: bool = False) -> StepError:
    return {"class": error_class, "message": message[:_MESSAGE_LENGTH], "transient": transient}


def _again(decision: Decision, step: StepState, until: Until, data: StepSucceeded) -> None:
    at = iso(round(decision.now + until.interval_seconds, 3))
    polled = Polled(
        data.duration_seconds, step.polls + 1, until.limit, step.attempt + 1, at, data.output,
        data.stdout, data.stderr, data.report,
    )  # fmt: skip
    decision.emit("step.polled", polled, step.id, step.attempt)


def message_of(
    decision: Decision, written: str | None, context: dict[str, Any], otherwise: str
) -> str:
    """The message that the plan gives, with its references resolved, or another one.

    A message whose references cannot be resolved must not hide what it is about.
    """
    if written is None:
        return otherwise
    try:
        return str(expressions.render(written, context, decision.spent))[:_MESSAGE_LENGTH]
    except expressions.ExpressionError as error:
        return f"{otherwise} (its message cannot be filled in: {error})"
