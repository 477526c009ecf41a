"""Schedule: which steps may run now.

`advance` is called after every change. It looks only at what the change can have set free, so a
plan of a thousand steps costs no more per report than one of five.
"""

from __future__ import annotations

from typing import Any, Final

from processors.router import expressions
from processors.router.dispatching import context_of, dispatch, fail_unstarted
from processors.router.ending import compensate, finish, skip_the_rest, wind_down
from processors.router.state import STEP_FAILED, Execution, StepState
from processors.router.turn import Turn
from streams.lifecycle import STEP_ENDED
from streams.plans import MAX_STEPS

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
        wind_down(turn)
    elif execution.stopping is not None and execution.status != "needs_attention":
        skip_the_rest(turn)
        while turn.ended:
            _after(turn, turn.ended.pop())
        compensate(turn)
    if execution.open_steps == 0:
        finish(turn)


def retry(turn: Turn, step: StepState) -> None:
    """The back-off of a step is over."""
    if _may_start(turn.execution) or step.undoes is not None:
        dispatch(turn, step)


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
            dispatch(turn, step)


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
        fail_unstarted(turn, step, "expression", str(error))
        return
    dispatch(turn, step)


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
            dispatch(turn, item)
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
