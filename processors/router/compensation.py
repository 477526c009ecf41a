"""Compensation: what succeeded is undone, one step after another, the last one first.

A step is undone only if it changed something: by its compensation's own `when`, else unless its
output says `changed: false` or `created: false`.
"""

from __future__ import annotations

from processors.router.attempts import context_of, dispatch, fail_unstarted
from processors.router.decision import Decision
from processors.router.state import Execution, StepState, undo_id
from runtime.cel import expressions
from streams.lifecycle import STEP_ENDED
from streams.payloads import Compensated, CompensationScheduled, CompensationSkipped


def compensate(decision: Decision, block: StepState | None = None) -> bool:
    """Undo the step that ended last, of a block or of all; returns whether that is under way.

    Of all it says so only where that ended at once, too: there may be more to undo.
    """
    execution = decision.execution
    if block is None:
        if execution.stopping != "compensate":
            return False
        steps = [step for step in execution.steps.values() if not execution.is_final(step)]
    else:
        steps = execution.within(block)
    if any(step.status not in STEP_ENDED for step in steps):
        return False
    waiting = [step for step in steps if _to_undo(execution, step)]
    for step in sorted(waiting, key=lambda step: (step.ended_at, step.id), reverse=True):
        if _undo(decision, step):
            return block is not None or bool(decision.ended)
    return False


def _undo(decision: Decision, step: StepState) -> bool:
    """Schedule the step that undoes `step`; returns whether there was anything to undo."""
    execution = decision.execution
    spec = execution.spec(step).compensate
    assert spec is not None  # else there is nothing to undo  # noqa: S101
    failure: expressions.ExpressionError | None = None
    try:
        unchanged = _unchanged(decision, step, spec.when)
    except expressions.ExpressionError as error:
        unchanged, failure = None, error
    if unchanged is not None:
        decision.emit("step.compensation_skipped", CompensationSkipped(unchanged), step.id)
        _after_last(decision, step)
        return False
    by = undo_id(step.id)
    decision.emit("step.compensation_scheduled", CompensationScheduled(by, spec.tool), step.id)
    decision.changed_steps[by] = None
    undo = execution.steps[by]
    if failure is not None:
        fail_unstarted(decision, undo, failure.error_class, str(failure))
    else:
        dispatch(decision, undo)
    return True


def _to_undo(execution: Execution, step: StepState) -> bool:
    return (
        step.status == "succeeded"
        and step.undoes is None
        and not step.is_container
        and not step.unchanged
        and execution.spec(step).compensate is not None
        and undo_id(step.id) not in execution.steps
    )


def _unchanged(decision: Decision, step: StepState, when: str | None) -> str | None:
    """Why there is nothing to undo; None where there is. Raises ExpressionError."""
    if when is not None:
        undo = StepState(undo_id(step.id), undoes=step.id)
        context = context_of(decision.execution, undo, decision.now)
        true = expressions.condition(when, context, decision.spent)
        return None if true else "the condition of its compensation is false"
    if isinstance(step.output, dict):
        for name in ("changed", "created"):
            if step.output.get(name) is False:
                return f"it changed nothing (`{name}: false`)"
    return None


def after_undo(decision: Decision, undo: StepState) -> None:
    """A step that undoes another one has ended."""
    if undo.status != "succeeded" or undo.undoes is None:
        return
    decision.emit("step.compensated", Compensated(undo.id), undo.undoes)
    _after_last(decision, decision.execution.steps[undo.undoes])


def _after_last(decision: Decision, step: StepState) -> None:
    """A list or block is undone when everything within it that was changed is."""
    execution = decision.execution
    if step.parent is None:
        return
    parent = execution.steps[step.parent]
    within = execution.within(parent)
    if parent.items is not None:
        within = [one for name in execution.children(parent) for one in _all_of(execution, name)]
    undone = [one for one in within if one.status == "compensated" and not one.is_container]
    left = any(_to_undo(execution, one) or _not_undone(execution, one) for one in within)
    if parent.status == "succeeded" and undone and not left:
        last = max(undone, key=lambda one: execution.steps[undo_id(one.id)].ended_at)
        decision.emit("step.compensated", Compensated(undo_id(last.id)), parent.id)
        _after_last(decision, parent)


def _all_of(execution: Execution, name: str) -> list[StepState]:
    step = execution.steps[name]
    return [step, *execution.within(step)]


def _not_undone(execution: Execution, step: StepState) -> bool:
    """Whether it should have been undone, and that failed."""
    undo = execution.steps.get(undo_id(step.id))
    return step.status == "succeeded" and undo is not None
