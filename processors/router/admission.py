"""Admission: whether a plan may run, and everything about it that is decided once.

Tools and parameters are checked against the catalogue, the plan's shape for cycles and limits, and
every reference for a step that comes before. What comes out is the data of `execution.accepted`:
from there on the router needs neither the catalogue nor the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

from processors.router import expressions, policy
from streams.plans import MAX_STEPS, Compensation, ExecutionRequest, Plan, RetryPolicy, Step
from toolmeta import risk
from toolmeta.check import check
from toolmeta.invocation import Problem
from toolmeta.model import Tool
from toolmeta.registry import Registry

MAX_PROBLEMS: Final = 20
_NO_RETRY: Final = RetryPolicy()


def admit(
    request: ExecutionRequest, plan_hash: str, idempotency_key: str, registry: Registry
) -> dict[str, Any] | list[Problem]:
    """The data of `execution.accepted`, or why the plan is rejected (at most 20 problems)."""
    plan = request.plan
    if len(plan.steps) > MAX_STEPS:
        return [Problem("plan.steps", f"{len(plan.steps)} steps; at most {MAX_STEPS} are allowed")]
    problems: list[Problem] = []
    names = _names(plan, problems)
    tools = [_tool(step, index, registry, problems) for index, step in enumerate(plan.steps)]
    if not problems:
        dependencies = _dependencies(plan, names, problems)
        if not problems:
            _check_references(plan, names, dependencies, problems)
    if problems:
        return problems[:MAX_PROBLEMS]
    return _accepted(
        request, plan_hash, idempotency_key, names, [t for t in tools if t], dependencies, registry
    )


def _names(plan: Plan, problems: list[Problem]) -> list[str]:
    names: list[str] = []
    taken: dict[str, int] = {}
    for index, step in enumerate(plan.steps):
        name = step.id or f"step_{index + 1}"
        if name in taken:
            problems.append(
                Problem(
                    f"plan.steps[{index}].id",
                    f"{name} is the id of steps[{taken[name]}] too; ids must be unique",
                )
            )
        taken.setdefault(name, index)
        names.append(name)
    return names


def _tool(
    step: Step | Compensation,
    index: int,
    registry: Registry,
    problems: list[Problem],
    inside: str = "",
) -> Tool | None:
    where = f"plan.steps[{index}]{inside}"
    tool = registry.get(step.tool)
    if tool is None:
        near = registry.suggest(step.tool)
        hint = f"; did you mean {near}?" if near else "; see `runstream tools list`"
        problems.append(Problem(f"{where}.tool", f"there is no tool {step.tool[:64]!r}{hint}"))
        return None
    for problem in check(tool, step.parameters, references_allowed=True):
        problems.append(Problem(f"{where}.{problem.field}", problem.message))
    if isinstance(step, Step) and step.compensate is not None:
        _tool(step.compensate, index, registry, problems, ".compensate")
    return tool


def _dependencies(plan: Plan, names: list[str], problems: list[Problem]) -> list[list[str]]:
    """Who waits for whom: as declared, or each for the one before where nobody declares."""
    if all(step.depends_on is None for step in plan.steps):
        return [[], *([name] for name in names[:-1])]
    known = set(names)
    declared: list[list[str]] = []
    for index, step in enumerate(plan.steps):
        wanted = list(dict.fromkeys(step.depends_on or ()))
        for dependency in wanted:
            field = f"plan.steps[{index}].depends_on"
            if dependency not in known:
                problems.append(Problem(field, f"there is no step {dependency}"))
            elif dependency == names[index]:
                problems.append(Problem(field, f"{dependency} cannot wait for itself"))
        declared.append(wanted)
    if not problems:
        try:
            TopologicalSorter(dict(zip(names, declared, strict=True))).prepare()
        except CycleError as error:
            circle = " -> ".join(error.args[1])
            problems.append(Problem("plan.steps", f"the steps wait for each other: {circle}"))
    return declared


def _check_references(
    plan: Plan, names: list[str], dependencies: list[list[str]], problems: list[Problem]
) -> None:
    position = {name: index for index, name in enumerate(names)}
    before: list[int] | None = None
    for index, step in enumerate(plan.steps):
        for field, text in _texts(step):
            where = f"plan.steps[{index}].{field}"
            try:
                expressions.check(text)
            except expressions.ExpressionError as error:
                problems.append(Problem(where, str(error)))
                continue
            for name in sorted(expressions.step_references(text)):
                if name not in position:
                    problems.append(Problem(where, f"there is no step {name} to refer to"))
                    continue
                if before is None:
                    before = _ancestors(names, dependencies, position)
                allowed = before[index]
                if field.startswith("compensate"):
                    allowed |= 1 << index
                if not allowed >> position[name] & 1:
                    problems.append(
                        Problem(
                            where,
                            f"{name} does not come before {names[index]}; "
                            f"add it to the step's depends_on",
                        )
                    )


def _ancestors(
    names: list[str], dependencies: list[list[str]], position: dict[str, int]
) -> list[int]:
    """For each step the set of the steps before it, as bits."""
    order = TopologicalSorter(dict(zip(names, dependencies, strict=True))).static_order()
    before = [0] * len(names)
    for name in order:
        index = position[name]
        for dependency in dependencies[index]:
            other = position[dependency]
            before[index] |= before[other] | 1 << other
    return before


def _texts(step: Step) -> Iterator[tuple[str, str]]:
    """Every expression of a step, with the field it stands in."""
    if step.when is not None:
        text = step.when.strip()
        yield "when", text[2:-2] if text.startswith("{{") and text.endswith("}}") else text
    if isinstance(step.for_each, str):
        found = list(expressions.references(step.for_each))
        yield from (("for_each", text) for text in found or [step.for_each])
    elif step.for_each is not None:
        yield from (("for_each", text) for text in expressions.references(step.for_each))
    for name, value in step.parameters.items():
        for text in expressions.references(value):
            yield f"parameters.{name}", text
    if step.compensate is not None:
        for name, value in step.compensate.parameters.items():
            for text in expressions.references(value):
                yield f"compensate.parameters.{name}", text


def _accepted(
    request: ExecutionRequest,
    plan_hash: str,
    idempotency_key: str,
    names: list[str],
    tools: list[Tool],
    dependencies: list[list[str]],
    registry: Registry,
) -> dict[str, Any]:
    plan = request.plan
    sla = plan.sla_class or policy.sla_class(sum(tool.estimate_seconds for tool in tools))
    pairs = list(zip(tools, plan.steps, strict=True))
    action = plan.action_class or policy.action_class(
        plan.type, [risk.action_class_of(tool, step.parameters) for tool, step in pairs]
    )
    steps = [
        _spec(step, name, tool, waits, sla, action, registry)
        for step, name, tool, waits in zip(plan.steps, names, tools, dependencies, strict=True)
    ]
    timeout = plan.timeout_seconds or policy.execution_timeout(
        sla, action, [spec["timeout_seconds"] for spec in steps]
    )
    level = plan.approval_level
    if any(risk.approval_required(tool, step.parameters, plan.environment) for tool, step in pairs):
        level = max(level, 1)
    data: dict[str, Any] = {
        "plan": {**(plan.model_extra or {}), "name": plan.name, "steps": steps},
        "plan_hash": plan_hash,
        "name": plan.name,
        "actor": request.actor,
        "environment": plan.environment,
        "idempotency_key": idempotency_key,
        "sla_class": sla,
        "mode": plan.mode or policy.mode(sla),
        "action_class": action,
        "priority": plan.priority or policy.priority(sla),
        "timeout_seconds": timeout,
        "sla_seconds": policy.sla_seconds(sla, timeout),
        "approval_level": level,
    }
    unknown = _unknown_fields(plan)
    if unknown:
        data["unknown_fields"] = unknown
    return data


def _unknown_fields(plan: Plan) -> list[str]:
    """Fields that mean nothing to us: kept, and said, since one may be a misspelling."""
    found = [f"plan.{name}" for name in plan.model_extra or ()]
    for index, step in enumerate(plan.steps):
        if step.model_extra:
            found.extend(f"plan.steps[{index}].{name}" for name in step.model_extra)
    return found[:MAX_PROBLEMS]


def _spec(
    step: Step,
    name: str,
    tool: Tool,
    depends_on: list[str],
    sla: str,
    action: str,
    registry: Registry,
) -> dict[str, Any]:
    spec = _runnable(step, tool, sla, action)
    policy_of_step = step.retry or _NO_RETRY
    wanted = step.retry.max_attempts if step.retry else None
    spec.update(
        id=name,
        depends_on=depends_on,
        on_failure=step.on_failure,
        max_attempts=policy.max_attempts(sla, wanted),
        backoff_seconds=policy_of_step.backoff_seconds,
        max_backoff_seconds=policy_of_step.max_backoff_seconds,
    )
    for optional in ("description", "when", "for_each", "max_parallel", "assets", "secrets"):
        value = getattr(step, optional)
        if value is not None:
            spec[optional] = value
    if step.compensate is not None:
        undo_tool = registry.get(step.compensate.tool)
        assert undo_tool is not None  # checked in _tool  # noqa: S101
        undo = _runnable(step.compensate, undo_tool, sla, action)
        undo.update(
            max_attempts=policy.max_attempts(sla, None),
            backoff_seconds=_NO_RETRY.backoff_seconds,
            max_backoff_seconds=_NO_RETRY.max_backoff_seconds,
        )
        spec["compensate"] = undo
    return spec


def _runnable(step: Step | Compensation, tool: Tool, sla: str, action: str) -> dict[str, Any]:
    timeout = step.timeout_seconds or max(policy.timings(sla, action).step, tool.timeout_seconds)
    return {
        "tool": tool.name,
        "domain": tool.domain,
        "parameters": step.parameters,
        "references": expressions.has_references(step.parameters),
        "target_parameters": list(tool.target),
        "retry_safe": risk.may_repeat(tool, step.parameters),
        "timeout_seconds": timeout,
        "lease_seconds": policy.lease_seconds(sla, action),
    }
