"""Scheduling: which steps may run now.

`advance` is called after every change. It looks only at what the change can have set free, so a
plan of a thousand steps costs no more per report than one of five.
"""

from __future__ import annotations

from processors.router import expressions, items
from processors.router.attempts import context_of, dispatch, fail_unstarted, may_start
from processors.router.compensation import after_undo, compensate
from processors.router.decision import Decision
from processors.router.ending import cancel_the_rest, finish, skip_the_rest
from processors.router.state import StepState
from streams.lifecycle import HELD
from streams.payloads import Skipped


def advance(decision: Decision, *, everything: bool = False) -> None:
    """Dispatch what is free, and end the execution when nothing is left.

    `everything` looks at every step, for the moments after which any step may be free: admission,
    approval, resumption, resolution.
    """
    execution = decision.execution
    if execution.ended_at is not None:
        return
    if everything and execution.status not in HELD:
        _start_all(decision)
    _follow(decision)
    if execution.ending is not None:
        cancel_the_rest(decision)
        decision.ended.clear()
    elif execution.stopping is not None and execution.status != "needs_attention":
        skip_the_rest(decision)
        _follow(decision)
        while compensate(decision):
            _follow(decision)
    if execution.open_steps == 0:
        finish(decision)


def _follow(decision: Decision) -> None:
    """Look at what every step that has ended sets free."""
    while decision.ended:
        _after(decision, decision.ended.pop())


def retry(decision: Decision, step: StepState) -> None:
    """The back-off of a step is over, or the time that it waits for a lock at most."""
    if step.waiting == "lock":
        message = "it did not get the lock that it needs in time; see its step.waiting events"
        fail_unstarted(decision, step, "lock_timeout", message)
    elif may_start(decision.execution) or step.undoes is not None:
        dispatch(decision, step)


def _start_all(decision: Decision) -> None:
    execution = decision.execution
    for name in execution.specs:
        step = execution.steps[name]
        if step.status == "pending" and execution.unmet[name] == 0 and may_start(execution):
            _start(decision, step)
        elif step.items is not None and step.status == "running":
            items.start_items(decision, step)
    for step in list(execution.steps.values()):
        undoes = step.undoes is not None
        waits = step.waiting == "lock" and (undoes or may_start(execution))
        if waits or (undoes and step.status == "pending"):
            dispatch(decision, step)


def _after(decision: Decision, name: str) -> None:
    """Look at what the end of one step sets free."""
    execution = decision.execution
    step = execution.steps[name]
    if step.undoes is not None:
        after_undo(decision, step)
        return
    if step.parent is not None:
        items.after_item(decision, execution.steps[step.parent])
        return
    for dependent in execution.dependents.get(name, ()):
        waiting = execution.steps[dependent]
        free = waiting.status == "pending" and execution.unmet[dependent] == 0
        if free and may_start(execution):
            _start(decision, waiting)


def _start(decision: Decision, step: StepState) -> None:
    """Start a step of the plan: its condition, its items, or the step itself."""
    spec = decision.execution.specs[step.id]
    try:
        if spec.when is not None:
            context = context_of(decision.execution, step)
            if not expressions.condition(spec.when, context, decision.spent):
                decision.emit("step.skipped", Skipped("its condition is false"), step.id)
                return
        if spec.for_each is not None:
            items.expand(decision, step, spec)
            return
    except expressions.ExpressionError as error:
        fail_unstarted(decision, step, error.error_class, str(error))
        return
    dispatch(decision, step)
