"""Items: a `for_each` step becomes one step per item, and ends when all of them have."""

from __future__ import annotations

from typing import Any

import orjson

from processors.router import expressions
from processors.router.attempts import context_of, dispatch, may_start
from processors.router.decision import Decision
from processors.router.state import StepState, item_id
from streams.admitted import AdmittedStep
from streams.lifecycle import STEP_ENDED, STEP_FAILED
from streams.limits import MAX_EXECUTION_STEPS, MAX_ITEMS_BYTES, MAX_OUTPUT_BYTES
from streams.payloads import Expanded, Skipped, StepFailed, StepSucceeded
from streams.truncation import mark


def expand(decision: Decision, step: StepState, spec: AdmittedStep) -> None:
    """Make the items of a step; raises ExpressionError where that cannot be."""
    source: Any = spec.for_each
    if isinstance(source, str) and "{{" not in source:
        source = "{{" + source + "}}"
    context = context_of(decision.execution, step)
    values = expressions.render(source, context, decision.spent)
    if not isinstance(values, list):
        raise expressions.ExpressionError(
            f"for_each gives {type(values).__name__}, and a list is needed"
        )
    if len(decision.execution.steps) + len(values) > MAX_EXECUTION_STEPS:
        message = (
            f"for_each gives {len(values)} items; an execution holds at most "
            f"{MAX_EXECUTION_STEPS} steps"
        )
        raise expressions.ExpressionError(message, "too_large")
    size = len(orjson.dumps(values))
    if size > MAX_ITEMS_BYTES:
        message = (
            f"for_each gives items of {size} bytes; {MAX_ITEMS_BYTES} are allowed: "
            "let the items name what they stand for"
        )
        raise expressions.ExpressionError(message, "too_large")
    children = [item_id(step.id, index) for index in range(len(values))]
    decision.emit("step.expanded", Expanded(len(values), children, values), step.id)
    if children:
        start_items(decision, step)
    else:
        output = {"items": [], "count": 0, "succeeded": 0, "failed": 0}
        decision.emit("step.succeeded", StepSucceeded(0.0, output), step.id)


def start_items(decision: Decision, parent: StepState) -> None:
    """Dispatch as many items as may run at once, in their order."""
    execution = decision.execution
    items = [execution.steps[name] for name in parent.children]
    limit = execution.specs[parent.id].max_parallel or len(items)
    busy = sum(item.status not in STEP_ENDED and item.status != "pending" for item in items)
    for item in items:
        if busy >= limit or not may_start(execution):
            return
        if item.status == "pending":
            dispatch(decision, item)
            busy += item.status not in STEP_ENDED


def after_item(decision: Decision, parent: StepState) -> None:
    """An item ended: start the next one, or end the step when all have ended."""
    execution = decision.execution
    if parent.status in STEP_ENDED:
        return
    items = [execution.steps[name] for name in parent.children]
    if any(item.status not in STEP_ENDED for item in items):
        start_items(decision, parent)
        return
    failed = [item.id for item in items if item.status in STEP_FAILED]
    output = _output(items, len(failed))
    duration = round(decision.now - parent.started_at, 3)
    if failed:
        message = f"{len(failed)} of {len(items)} items failed: {', '.join(failed[:5])}"
        data = StepFailed(
            duration_seconds=duration,
            error={"class": "items_failed", "message": message, "transient": False},
            output=output,
        )
        decision.emit("step.failed", data, parent.id)
    elif any(item.status in ("cancelled", "skipped") for item in items):
        decision.emit("step.skipped", Skipped("not all of its items were run"), parent.id)
    else:
        decision.emit("step.succeeded", StepSucceeded(duration, output), parent.id)


def _output(items: list[StepState], failed: int) -> dict[str, Any]:
    """The counts, and the outputs of the first items as far as the budget of an output goes."""
    succeeded = sum(item.status == "succeeded" for item in items)
    kept: list[Any] = []
    left = MAX_OUTPUT_BYTES - 1_024
    for item in items:
        left -= len(orjson.dumps(item.output)) + 1
        if left < 0:
            break
        kept.append(item.output)
    output: dict[str, Any] = {
        "items": kept,
        "count": len(items),
        "succeeded": succeeded,
        "failed": failed,
    }
    if len(kept) < len(items):
        mark(output, "items", len(kept), len(items))
    return output
