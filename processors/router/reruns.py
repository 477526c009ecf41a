"""Reruns: a new execution of the same plan that keeps what succeeded."""

from __future__ import annotations

from typing import Any

from processors.router import policy
from processors.router.changelog import RERUNNABLE
from processors.router.state import Execution


def rerun_data(execution: Execution, from_step: str | None, actor: str) -> dict[str, Any] | str:
    """The data of the new execution's `execution.accepted`, or why there is none.

    Every step that succeeded keeps its output and is not run again, unless it is `from_step` or
    comes after it.
    """
    if execution.status not in RERUNNABLE:
        return f"only what failed, stopped or timed out can be run again; it is {execution.status}"
    again: set[str] = set()
    if from_step is not None:
        first = from_step.removesuffix(".undo").partition("[")[0]
        if first not in execution.specs:
            return f"there is no step {first}"
        again = _after(execution, first)
    carried = {
        name: execution.steps[name].output
        for name in execution.specs
        if execution.steps[name].status == "succeeded" and name not in again
    }
    return {
        "plan": execution.plan,
        "plan_hash": execution.plan_hash,
        "name": execution.plan.get("name"),
        "actor": actor,
        "environment": execution.environment,
        "sla_class": execution.sla_class,
        "mode": execution.mode,
        "action_class": execution.action_class,
        "priority": execution.priority,
        "timeout_seconds": execution.timeout_seconds,
        "sla_seconds": policy.sla_seconds(execution.sla_class, execution.timeout_seconds),
        "approval_level": execution.approval_level,
        "rerun_of": execution.id,
        "carried": carried,
    }


def _after(execution: Execution, first: str) -> set[str]:
    """The step and everything that waits for it, directly or not."""
    found = {first}
    queue = [first]
    while queue:
        for name in execution.dependents[queue.pop()]:
            if name not in found:
                found.add(name)
                queue.append(name)
    return found
