"""Scheduling: which steps may run now.

`advance` is called after every change. It looks only at what the change can have set free, so a
plan of a thousand steps costs no more per report than one of five.
"""

from __future__ import annotations

from processors.router.attempts import dispatch, fail_unstarted, may_start
from processors.router.compensation import after_undo, compensate
from processors.router.containers import look_after
from processors.router.decision import Decision
from processors.router.ending import begin_finally, cancel_the_rest, finish, skip_the_rest
from processors.router.starting import start, start_items, start_steps
from processors.router.state import StepState
from streams.lifecycle import HELD, STEP_ENDED


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
    if execution.outcome is None and begin_finally(decision):
        _start_all(decision)
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
    elif may_start(decision.execution, step) or step.undoes is not None:
        dispatch(decision, step)


def _start_all(decision: Decision) -> None:
    execution = decision.execution
    for step in list(execution.steps.values()):
        if step.items is not None and step.status == "running":
            start_items(decision, step)
        elif step.entered and step.status == "running":
            start_steps(decision, step)
        elif step.parent is None and step.undoes is None:
            free = step.status == "pending" and execution.unmet[step.id] == 0
            if free and may_start(execution, step):
                start(decision, step)
    for step in list(execution.steps.values()):
        undoes = step.undoes is not None
        waits = step.waiting == "lock" and (undoes or may_start(execution, step))
        if waits or (undoes and step.status == "pending"):
            dispatch(decision, step)


def _after(decision: Decision, name: str) -> None:
    """Look at what the end of one step sets free."""
    execution = decision.execution
    step = execution.steps[name]
    if step.undoes is not None:
        after_undo(decision, step)
        for around in execution.around(step):
            if around.stopping == "compensate" and around.status not in STEP_ENDED:
                look_after(decision, around)
        return
    if step.parent is not None:
        look_after(decision, execution.steps[step.parent])
        return
    for dependent in execution.dependents.get(name, ()):
        waiting = execution.steps[dependent]
        free = waiting.status == "pending" and execution.unmet[dependent] == 0
        if free and may_start(execution, waiting):
            start(decision, waiting)
