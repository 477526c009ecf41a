"""Admission: whether a plan may run, and everything about it that is decided once.

Tools and parameters are checked against the catalogue, the plan's shape for cycles and limits, and
every reference for a step that comes before. What comes out is the data of `execution.accepted`:
from there on the router needs neither the catalogue nor the request.
"""

from __future__ import annotations

from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from typing import Any, Final

import orjson
from pydantic import BaseModel

from processors.router import expressions, lanes, policy
from processors.router.authorisation import MAX_ACCESSES, count_accesses
from processors.router.calls import Call, admitted, written
from processors.router.evaluation import Spent
from streams.admitted import AdmittedPlan, AdmittedStep, encode_plan
from streams.limits import MAX_PLAN_BYTES, MAX_SECRETS_BYTES
from streams.payloads import Accepted
from streams.plans import Compensation, ExecutionRequest, Plan, RetryPolicy, Step
from streams.topics import TEST_DOMAIN
from toolmeta import literals, locking, risk, secret_references, step_hosts
from toolmeta.bind import target_names
from toolmeta.check import check
from toolmeta.invocation import Problem
from toolmeta.model import Tool
from toolmeta.registry import Registry

MAX_PROBLEMS: Final = 20
_NO_RETRY: Final = RetryPolicy()


def admit(
    request: ExecutionRequest,
    plan_hash: str,
    idempotency_key: str,
    registry: Registry,
    run: int = 1,
) -> Accepted | list[Problem]:
    """The data of `execution.accepted`, or why the plan is rejected (at most 20 problems).

    `run` counts the acceptances of the idempotency key.
    """
    plan = request.plan
    problems: list[Problem] = []
    names = _names(plan, problems)
    calls: list[tuple[Call, Tool | None]] = []
    for call in written(plan):
        calls.append((call, _tool(call, registry, problems)))
        # Looking for what may have been meant takes long, and nobody is told more.
        if len(problems) >= MAX_PROBLEMS:
            return problems[:MAX_PROBLEMS]
    if not problems:
        dependencies = _dependencies(plan, names, problems)
        if not problems:
            _check_references(plan, names, dependencies, problems)
    if problems:
        return problems[:MAX_PROBLEMS]
    found = [(call, tool) for call, tool in calls if tool is not None]
    data = _accepted(request, plan_hash, idempotency_key, names, found, dependencies)
    if isinstance(data, list):
        return data[:MAX_PROBLEMS]
    data.run = run
    for _, spec in admitted(data.plan):
        tool = registry.get(spec.tool)
        spec.definition = None if tool is None else registry.own_digest(tool)
    size = len(encode_plan(data.plan))
    if size > MAX_PLAN_BYTES:
        message = f"the plan has {size} bytes once admitted; {MAX_PLAN_BYTES} are allowed: split it"
        return [Problem("plan", message)]
    needed = count_accesses(data, registry)
    if needed > MAX_ACCESSES:
        message = (
            f"its items, assets and secrets make {needed} decisions about authority; "
            f"{MAX_ACCESSES} are allowed: split it"
        )
        return [Problem("plan", message)]
    return data


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


def _tool(call: Call, registry: Registry, problems: list[Problem]) -> Tool | None:
    step = call.step
    tool = registry.get(step.tool)
    if tool is None:
        near = registry.suggest(step.tool)
        hint = f"; did you mean {near}?" if near else "; see `runstream tools list`"
        problems.append(Problem(f"{call.field}.tool", f"there is no tool {step.tool[:64]!r}{hint}"))
        return None
    if tool.domain == TEST_DOMAIN and not registry.test_tools:
        message = f"{tool.name} is a test tool; `runstream up --test-tools` serves these"
        problems.append(Problem(f"{call.field}.tool", message))
        return None
    found = [*check(tool, step.parameters, references_allowed=True)]
    found += literals.problems(tool, step.parameters)
    if isinstance(step, Step):
        found += literals.step_problems(step.secrets or {})
        ways = (_written(step.become), _written(step.connection))
        found += step_hosts.problems(tool, step.parameters, step.assets, *ways)
    try:
        secret_references.pointers(step.parameters)
    except secret_references.TooManyPlaces:
        message = "hold more references to secrets than one call can have, or in too deep places"
        problems.append(Problem(f"{call.field}.parameters", message))
    for problem in found:
        field = f"{call.field}.{problem.field}"
        problems.append(Problem(field[:200], problem.message[:500]))
    if (
        isinstance(step, Step)
        and step.secrets
        and len(orjson.dumps(step.secrets)) > MAX_SECRETS_BYTES
    ):
        message = f"more than {MAX_SECRETS_BYTES} bytes; references to secrets are short"
        problems.append(Problem(f"{call.field}.secrets", message))
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
    spent = Spent()
    for index, step in enumerate(plan.steps):
        for field, text in _texts(step):
            where = f"plan.steps[{index}].{field}"
            if len(problems) >= MAX_PROBLEMS:
                return
            try:
                expressions.check(text, spent)
            except expressions.ExpressionError as error:
                problems.append(Problem(where, str(error)))
                if error.error_class == expressions.LIMIT:
                    return
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
        yield "when", _bare(step.when)
    if isinstance(step.for_each, str):
        found = list(expressions.references(step.for_each))
        yield from (("for_each", text) for text in found or [step.for_each])
    elif step.for_each is not None:
        yield from (("for_each", text) for text in expressions.references(step.for_each))
    for name, value in step.parameters.items():
        for text in expressions.references(value):
            yield f"parameters.{name}", text
    if step.compensate is not None:
        if step.compensate.when is not None:
            yield "compensate.when", _bare(step.compensate.when)
        for name, value in step.compensate.parameters.items():
            for text in expressions.references(value):
                yield f"compensate.parameters.{name}", text


def _bare(condition: str) -> str:
    text = condition.strip()
    return text[2:-2] if text.startswith("{{") and text.endswith("}}") else text


def _accepted(
    request: ExecutionRequest,
    plan_hash: str,
    idempotency_key: str,
    names: list[str],
    calls: list[tuple[Call, Tool]],
    dependencies: list[list[str]],
) -> Accepted | list[Problem]:
    plan = request.plan
    tools = {call.field: tool for call, tool in calls}
    estimate = sum(tool.estimate_seconds * call.rounds for call, tool in calls)
    sla = plan.sla_class or policy.sla_class(estimate)
    action = policy.action_class(
        plan.action_class,
        plan.type,
        [risk.action_class_of(tool, call.step.parameters) for call, tool in calls],
    )
    timed = [lanes.Timed(call, _step_timeout(call.step, tool, sla, action)) for call, tool in calls]
    problems = lanes.problems(plan.mode, estimate, timed)
    if problems:
        return problems
    steps = tuple(
        _spec(step, name, index, waits, sla, action, tools)
        for index, (step, name, waits) in enumerate(
            zip(plan.steps, names, dependencies, strict=True)
        )
    )
    timeout = plan.timeout_seconds or policy.execution_timeout(
        sla,
        action,
        [one.timeout_seconds * one.call.rounds for one in timed],
    )
    level = plan.approval_level
    if any(
        risk.approval_required(tool, call.step.parameters, plan.environment) for call, tool in calls
    ):
        level = max(level, 1)
    return Accepted(
        plan=AdmittedPlan(plan.name, steps, dict(plan.model_extra or {}), request.inputs or {}),
        plan_hash=plan_hash,
        actor=request.actor,
        environment=plan.environment,
        idempotency_key=idempotency_key,
        sla_class=sla,
        mode=lanes.mode_of(plan.mode, sla, estimate, timed),
        action_class=action,
        priority=plan.priority or policy.priority(sla),
        timeout_seconds=float(timeout),
        sla_seconds=policy.sla_seconds(sla, timeout),
        approval_level=level,
        name=plan.name,
        unknown_fields=_unknown_fields(plan) or None,
        definitions={tool.name: tool.digest for tool in tools.values()} if level else None,
    )


def _unknown_fields(plan: Plan) -> list[str]:
    """Fields that mean nothing to us: kept, and said, since one may be a misspelling."""
    found = [f"plan.{name}" for name in plan.model_extra or ()]
    for index, step in enumerate(plan.steps):
        if step.model_extra:
            found.extend(f"plan.steps[{index}].{name}" for name in step.model_extra)
    return [name[:200] for name in found[:MAX_PROBLEMS]]


def _written(part: BaseModel | None) -> dict[str, Any] | None:
    return None if part is None else part.model_dump(exclude_none=True)


def _spec(
    step: Step,
    name: str,
    index: int,
    depends_on: list[str],
    sla: str,
    action: str,
    tools: dict[str, Tool],
) -> AdmittedStep:
    retry = step.retry or _NO_RETRY
    wanted = step.retry.max_attempts if step.retry else None
    attempts = policy.max_attempts(sla, wanted)
    tool = tools[f"plan.steps[{index}]"]
    spec = _runnable(step, name, tool, sla, action, attempts, retry, step.assets)
    spec.depends_on = tuple(depends_on)
    spec.on_failure = step.on_failure
    spec.description = step.description
    spec.when = step.when
    spec.for_each = step.for_each
    spec.max_parallel = step.max_parallel
    spec.assets = step.assets
    spec.secrets = step.secrets
    if step_hosts.applies(tool):
        spec.become, spec.connection = _written(step.become), _written(step.connection)
    if step.compensate is not None:
        undo_tool = tools[f"plan.steps[{index}].compensate"]
        attempts = policy.max_attempts(sla, None)
        undo = _runnable(
            step.compensate, "", undo_tool, sla, action, attempts, _NO_RETRY, step.assets
        )
        undo.when = step.compensate.when
        # It acts on them as the step does: the policy, locks and executors look at each call alone.
        undo.assets = step.assets
        if step_hosts.applies(undo_tool):
            undo.become, undo.connection = _written(step.become), _written(step.connection)
            login = {
                name: reference
                for name, reference in (step.secrets or {}).items()
                if name in step_hosts.LOGIN_SECRETS
            }
            undo.secrets = login or None
        spec.compensate = undo
    return spec


def _step_timeout(step: Step | Compensation, tool: Tool, sla: str, action: str) -> float:
    wanted = step.timeout_seconds or max(policy.timings(sla, action).step, tool.timeout_seconds)
    return float(wanted)


def _runnable(
    step: Step | Compensation,
    name: str,
    tool: Tool,
    sla: str,
    action: str,
    max_attempts: int,
    retry: RetryPolicy,
    assets: list[str] | None,
) -> AdmittedStep:
    target, default = target_names(tool)
    return AdmittedStep(
        id=name,
        tool=tool.name,
        domain=tool.domain,
        parameters=step.parameters,
        timeout_seconds=_step_timeout(step, tool, sla, action),
        lease_seconds=float(policy.lease_seconds(sla, action)),
        max_attempts=max_attempts,
        backoff_seconds=retry.backoff_seconds,
        max_backoff_seconds=retry.max_backoff_seconds,
        retry_safe=risk.may_repeat(tool, step.parameters),
        references=expressions.has_references(step.parameters),
        secret_paths=secret_references.pointers(step.parameters),
        target=target,
        target_default=default,
        locks=locking.locks(tool, step.parameters, assets=bool(assets)),
    )
