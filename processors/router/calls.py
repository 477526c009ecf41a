"""Calls: everything of a plan that can ever run.

What admission decides by the tools of a plan (action class, time class, mode, timeout, approval)
is decided over these, so that no part of a plan escapes. A kind of step that runs a tool in a new
place is added to `places`, and to `admitted`, which names the same places of the plan as admitted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from streams.admitted import AdmittedPlan, AdmittedStep
from streams.plans import AssetItems, Check, Compensation, Plan, Step
from toolmeta.registry import Registry
from toolmeta.risk import approval_required

#: Items that the inventory gives at most; `asset_query` has no more on one page.
MAX_ASSETS: Final = 500


@dataclass(frozen=True, slots=True)
class Place:
    """One step of a plan as it was written, in a block or in none."""

    #: Where it stands, such as `plan.steps[0].steps[2]`.
    field: str
    step: Step
    #: The blocks that it stands in, the outermost first.
    blocks: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Call:
    """One place of a plan that names a tool; a `for_each` step is one call for all its items."""

    #: Where it stands, such as `plan.steps[0].compensate`.
    field: str
    step: Step | Compensation
    #: How often it runs, one after the other, as far as the plan says so.
    rounds: int
    #: What it waits between attempts that succeed, in seconds.
    waits: float = 0.0


@dataclass(frozen=True, slots=True)
class AdmittedCall:
    """One place of an admitted plan that names a tool."""

    #: Where it stands in the plan as written.
    field: str
    spec: AdmittedStep
    #: What `item` stands for there: the items of the step, or of the innermost block with any.
    for_each: str | list[Any] | None = None


def places(plan: Plan) -> Iterator[Place]:
    """Every step of the plan, each block before its steps, those of `finally` at the end."""
    yield from _places(plan.steps, "plan.steps", ())
    yield from _places(plan.finally_steps or (), "plan.finally", ())


def _places(steps: Iterable[Step], field: str, blocks: tuple[Place, ...]) -> Iterator[Place]:
    for index, step in enumerate(steps):
        place = Place(f"{field}[{index}]", step, blocks)
        yield place
        if step.steps is not None:
            yield from _places(step.steps, f"{place.field}.steps", (*blocks, place))


def asset_query(items: AssetItems, environment: str) -> Step:
    """The step that asks the inventory for these items; too many or none fail it."""
    parameters = {"environment": environment, "limit": MAX_ASSETS, **items.assets}
    whole, some = "size(output.hostnames) == output.total", "output.total > 0"
    check = Check(
        condition=whole if items.allow_none else f"{whole} && {some}",
        message="{{ output.total }} assets match, and 1 to "
        f"{parameters['limit']} are needed: ask for others, or set allow_none for none",
    )
    return Step(tool="asset_query", parameters=parameters, check=check)


def written(plan: Plan) -> Iterator[Call]:
    """Every call of the plan: each step with a tool, then the compensation that may undo it."""
    for place in places(plan):
        step = place.step
        if isinstance(step.for_each, AssetItems):
            yield Call(f"{place.field}.for_each", asset_query(step.for_each, plan.environment), 1)
        if not step.tool:
            continue
        around = [block.step for block in place.blocks]
        rounds = prod(_rounds(one) for one in (*around, step))
        until = step.until
        waits = 0.0 if until is None else until.interval_seconds * until.limit * rounds
        yield Call(place.field, step, rounds, waits)
        if step.compensate is not None:
            items = prod(_items(one) for one in (*around, step))
            yield Call(f"{place.field}.compensate", step.compensate, items)


def admitted(plan: AdmittedPlan) -> Iterator[AdmittedCall]:
    """Every call of an admitted plan: where it stands in what was written, and what runs there."""
    yield from _admitted(plan.steps, "plan.steps", None)
    yield from _admitted(plan.finally_steps, "plan.finally", None)


def _admitted(
    steps: Iterable[AdmittedStep], field: str, around: str | list[Any] | None
) -> Iterator[AdmittedCall]:
    for index, spec in enumerate(steps):
        where = f"{field}[{index}]"
        items = around if spec.for_each is None else spec.for_each
        if spec.steps:
            yield from _admitted(spec.steps, f"{where}.steps", items)
        elif not spec.assertions:
            yield AdmittedCall(where, spec, items)
        if spec.compensate is not None:
            yield AdmittedCall(f"{where}.compensate", spec.compensate, items)


def definitions(plan: AdmittedPlan, registry: Registry) -> dict[str, str]:
    """tool -> digest of its definition, of every tool that the plan may call and that there is."""
    tools = {call.spec.tool: registry.get(call.spec.tool) for call in admitted(plan)}
    return {name: tool.digest for name, tool in tools.items() if tool is not None}


def approval_level(stated: int, plan: AdmittedPlan, environment: str, registry: Registry) -> int:
    """How many people must approve the plan: as many as it says, or one where a call needs it.

    What is no longer in the catalogue needs none by itself: nobody can run it.
    """
    where: Any = environment
    for call in admitted(plan):
        tool = registry.get(call.spec.tool)
        if tool is not None and approval_required(tool, call.spec.parameters, where):
            return max(stated, 1)
    return stated


def _items(step: Step) -> int:
    """How many items the step has; 1 where only the run will tell."""
    return max(1, len(step.for_each)) if isinstance(step.for_each, list) else 1


def _rounds(step: Step) -> int:
    """Items run at the same time, as many as `max_parallel` allows; `until` repeats each."""
    items = _items(step)
    polls = 1 if step.until is None else step.until.limit
    return -(-items // min(step.max_parallel or items, items)) * polls
