"""Calls: everything of a plan that can ever run.

What admission decides by the tools of a plan (action class, time class, mode, timeout, approval)
is decided over these, so that no part of a plan escapes. A kind of step that runs a tool in a new
place is added to `written`, and to `admitted`, which names the same places of the plan as admitted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from streams.admitted import AdmittedPlan, AdmittedStep
from streams.plans import Compensation, Plan, Step
from toolmeta.registry import Registry
from toolmeta.risk import approval_required


@dataclass(frozen=True, slots=True)
class Call:
    """One place of a plan that names a tool; a `for_each` step is one call for all its items."""

    #: Where it stands, such as `plan.steps[0].compensate`.
    field: str
    step: Step | Compensation
    #: How often it runs, one after the other, as far as the plan says so.
    rounds: int


def written(plan: Plan) -> Iterator[Call]:
    """Every call of the plan: each step, then the compensation that may undo it."""
    for index, step in enumerate(plan.steps):
        field = f"plan.steps[{index}]"
        yield Call(field, step, _rounds(step))
        if step.compensate is not None:
            yield Call(f"{field}.compensate", step.compensate, _items(step))


def admitted(plan: AdmittedPlan) -> Iterator[tuple[str, AdmittedStep]]:
    """Every call of an admitted plan: where it stands in what was written, and what runs there."""
    for index, step in enumerate(plan.steps):
        field = f"plan.steps[{index}]"
        yield field, step
        if step.compensate is not None:
            yield f"{field}.compensate", step.compensate


def definitions(plan: AdmittedPlan, registry: Registry) -> dict[str, str]:
    """tool -> digest of its definition, of every tool that the plan may call and that there is."""
    tools = {spec.tool: registry.get(spec.tool) for _, spec in admitted(plan)}
    return {name: tool.digest for name, tool in tools.items() if tool is not None}


def approval_level(stated: int, plan: AdmittedPlan, environment: str, registry: Registry) -> int:
    """How many people must approve the plan: as many as it says, or one where a call needs it.

    What is no longer in the catalogue needs none by itself: nobody can run it.
    """
    where: Any = environment
    for _, spec in admitted(plan):
        tool = registry.get(spec.tool)
        if tool is not None and approval_required(tool, spec.parameters, where):
            return max(stated, 1)
    return stated


def _items(step: Step) -> int:
    """How many items the step has; 1 where only the run will tell."""
    return max(1, len(step.for_each)) if isinstance(step.for_each, list) else 1


def _rounds(step: Step) -> int:
    """Items run at the same time, as many as `max_parallel` allows."""
    items = _items(step)
    return -(-items // min(step.max_parallel or items, items))
