"""Containers: when the items of a `for_each` step, or the steps of a block, end it."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, Final

import orjson

from processors.router.attempts import MOST_FAILED, failed_step
from processors.router.compensation import compensate
from processors.router.decision import Decision
from processors.router.evolve import allowed_failures, failures
from processors.router.starting import start_items, start_steps
from processors.router.state import Execution, StepState
from streams.lifecycle import STEP_ENDED, STEP_FAILED
from streams.limits import MAX_OUTPUT_BYTES
from streams.payloads import Skipped, StepFailed, StepSucceeded
from streams.truncation import mark

#: Failed items that a message names.
_NAMED: Final = 5


def look_after(decision: Decision, container: StepState) -> None:
    """Something within it ended: start what that sets free, or end it when all has ended."""
    execution = decision.execution
    if container.status in STEP_ENDED or execution.ends(container):
        return
    if container.items is not None:
        _after_item(decision, container)
    else:
        _after_step(decision, container)


def _after_item(decision: Decision, parent: StepState) -> None:
    execution = decision.execution
    items = [execution.steps[name] for name in execution.children(parent)]
    if parent.stopping is not None:
        skip(decision, items, "too many of the items failed")
    if any(item.status not in STEP_ENDED for item in items):
        start_items(decision, parent)
        return
    failed = [item.id for item in items if item.status in STEP_FAILED]
    output = _output(execution, items, len(failed))
    duration = round(decision.now - parent.started_at, 3)
    if failures(execution, parent) > allowed_failures(execution.spec(parent), parent):
        message = f"{len(failed)} of {len(items)} items failed: {', '.join(failed[:_NAMED])}"
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


def _after_step(decision: Decision, block: StepState) -> None:
    execution = decision.execution
    steps = [execution.steps[name] for name in execution.children(block)]
    if block.stopping is not None:
        skip(decision, steps, "the block stopped at a failed step")
    if any(step.status not in STEP_ENDED for step in steps):
        start_steps(decision, block)
        return
    if any(step.status not in STEP_ENDED for step in execution.within(block)):
        return  # What undoes a step is still running.
    if block.stopping == "compensate" and compensate(decision, block):
        return
    output = _outputs(execution, block, steps)
    duration = round(decision.now - block.started_at, 3)
    if block.stopping is None:
        decision.emit("step.succeeded", StepSucceeded(duration, output), block.id)
        return
    failed = [step for step in steps if step.status in STEP_FAILED]
    first = min(failed, key=lambda step: (step.ended_at, step.id))
    said = first.error["message"] if first.error else "failed"
    error_class = first.error["class"] if first.error else "failed"
    data = StepFailed(
        duration_seconds=duration,
        error={
            "class": error_class,
            "message": f"step {execution.spec(first).id}: {said}"[:2_000],
            "transient": False,
        },
        output=output,
    )
    decision.emit("step.failed", data, block.id)


def skip(decision: Decision, steps: list[StepState], reason: str) -> None:
    """What has not started never will."""
    for step in steps:
        waits = step.status in ("pending", "waiting") and not step.in_flight
        if waits and step.undoes is None and not step.is_container:
            decision.emit("step.skipped", Skipped(reason), step.id)


def _outputs(execution: Execution, block: StepState, steps: list[StepState]) -> dict[str, Any]:
    """The output of each step by its id, as far as the budget of an output goes."""
    output: dict[str, Any] = {}
    left = MAX_OUTPUT_BYTES - 1_024
    for step in steps:
        name = execution.spec(step).id
        left -= len(orjson.dumps(step.output)) + len(name) + 4
        if left >= 0:
            output[name] = step.output
        else:
            mark(output, name, 0, 1)
    return output


def _output(execution: Execution, items: list[StepState], failed: int) -> dict[str, Any]:
    """The counts, and the outputs of the first items as far as the budget of an output goes."""
    succeeded = sum(item.status == "succeeded" for item in items)
    kept: list[Any] = []
    left = MAX_OUTPUT_BYTES - 1_024
    told_of: list[dict[str, Any]] = []
    if failed:
        wrong = [item for item in items if item.status in STEP_FAILED][:MOST_FAILED]
        told = (failed_step(execution, item) for item in wrong)
        told_of = [asdict(one) for one in told if one is not None]
        left -= len(orjson.dumps(told_of))
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
    if told_of:
        output["failures"] = told_of
    if len(kept) < len(items):
        mark(output, "items", len(kept), len(items))
    return output
