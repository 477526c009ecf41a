"""Starting: what becomes of a step that is free, an item whose turn it is, a block that begins."""

from __future__ import annotations

from typing import Any

import orjson

from processors.router.attempts import context_of, dispatch, fail_unstarted, may_start
from processors.router.conditions import message_of
from processors.router.decision import Decision
from processors.router.state import StepState, item_id
from runtime.cel import expressions
from streams.admitted import AdmittedStep, every_step
from streams.lifecycle import STEP_ENDED
from streams.limits import MAX_EXECUTION_STEPS, MAX_ITEMS_BYTES
from streams.payloads import Expanded, Skipped, StepSucceeded


def start(decision: Decision, step: StepState) -> None:
    """Start a step of the plan or of a block: its condition, its items, or the step itself."""
    spec = decision.execution.spec(step)
    try:
        if spec.when is not None:
            context = context_of(decision.execution, step, decision.now)
            if not expressions.condition(spec.when, context, decision.spent):
                decision.emit("step.skipped", Skipped("its condition is false"), step.id)
                return
        if spec.for_each is not None:
            _expand(decision, step, spec)
            return
    except expressions.ExpressionError as error:
        fail_unstarted(decision, step, error.error_class, str(error))
        return
    _begin(decision, step, spec)


def _begin(decision: Decision, step: StepState, spec: AdmittedStep) -> None:
    """Begin a step that is no list, or one item of a list."""
    if spec.steps:
        _enter(decision, step, spec)
    elif spec.assertions:
        _assert(decision, step, spec)
    else:
        dispatch(decision, step)


def _assert(decision: Decision, step: StepState, spec: AdmittedStep) -> None:
    context = context_of(decision.execution, step, decision.now)
    try:
        for condition in spec.assertions:
            if not expressions.condition(condition, context, decision.spent):
                said = message_of(decision, spec.message, context, f"`{condition}` does not hold")
                fail_unstarted(decision, step, "assertion_failed", said)
                return
    except expressions.ExpressionError as error:
        fail_unstarted(decision, step, error.error_class, str(error))
        return
    output = {"assertions": len(spec.assertions)}
    decision.emit("step.succeeded", StepSucceeded(0.0, output), step.id)


def _enter(decision: Decision, step: StepState, spec: AdmittedStep) -> None:
    """The steps of a block begin."""
    if len(decision.execution.steps) + len(spec.steps) > MAX_EXECUTION_STEPS:
        message = f"an execution holds at most {MAX_EXECUTION_STEPS} steps: split the plan"
        fail_unstarted(decision, step, "too_large", message)
        return
    names = [f"{step.id}.{inner.id}" for inner in spec.steps]
    tools = [inner.tool for inner in spec.steps]
    decision.emit("step.expanded", Expanded(len(names), names, [], tools), step.id)
    start_steps(decision, step)


def start_steps(decision: Decision, block: StepState) -> None:
    """Start the steps of a block that wait for nothing more."""
    execution = decision.execution
    for name in execution.children(block):
        step = execution.steps[name]
        free = step.status == "pending" and execution.unmet[name] == 0
        if free and may_start(execution, step):
            start(decision, step)


def _expand(decision: Decision, step: StepState, spec: AdmittedStep) -> None:
    """Make the items of a step; raises ExpressionError where that cannot be."""
    source: Any = spec.for_each
    if isinstance(source, str) and "{{" not in source:
        source = "{{" + source + "}}"
    context = context_of(decision.execution, step, decision.now)
    values = expressions.render(source, context, decision.spent)
    if not isinstance(values, list):
        raise expressions.ExpressionError(
            f"for_each gives {type(values).__name__}, and a list is needed"
        )
    # What a block holds is counted before it begins: half a list would be worse than none.
    needed = len(values) * (1 + sum(1 for _ in every_step(spec.steps)))
    if len(decision.execution.steps) + needed > MAX_EXECUTION_STEPS:
        each = f" of {needed // len(values)} steps" if spec.steps else ""
        message = (
            f"for_each gives {len(values)} items{each}; an execution holds at most "
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
    """Begin as many items as may run at once, in their order."""
    execution = decision.execution
    spec = execution.spec(parent)
    items = [execution.steps[name] for name in execution.children(parent)]
    limit = spec.max_parallel or len(items)
    busy = sum(item.status not in STEP_ENDED and item.status != "pending" for item in items)
    for item in items:
        if busy >= limit or not may_start(execution, item):
            return
        if item.status == "pending":
            _begin(decision, item, spec)
            busy += item.status not in STEP_ENDED
