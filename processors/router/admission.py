"""Admission: whether a plan may run, and everything about it that is decided once.

Tools and parameters are checked against the catalogue, the plan's shape for cycles and limits, and
every reference for a step that comes before. What comes out is the data of `execution.accepted`:
from there on the router needs neither the catalogue nor the request.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from pydantic import BaseModel

from processors.router import lanes, policy
from processors.router.authorisation import MAX_ACCESSES, count_accesses
from processors.router.calls import Call, admitted, asset_query, places, written
from processors.router.plan_shape import Shape, assertions_of, shape_of
from runtime.cel import expressions
from streams.admitted import ROUTER_DOMAIN, AdmittedPlan, AdmittedStep, Check, Until, encode_plan
from streams.limits import MAX_PLAN_BYTES, MAX_SECRETS_BYTES
from streams.payloads import Accepted
from streams.plans import AssetItems, Compensation, ExecutionRequest, Plan, RetryPolicy, Step
from streams.topics import TEST_DOMAIN
from toolmeta import literals, locking, risk, secret_references, step_hosts, targets
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
    calls: list[tuple[Call, Tool | None]] = []
    for call in written(plan):
        calls.append((call, _tool(call, registry, problems)))
        # Looking for what may have been meant takes long, and nobody is told more.
        if len(problems) >= MAX_PROBLEMS:
            return problems[:MAX_PROBLEMS]
    problems += _kind_problems(plan)
    shape = shape_of(plan, problems)
    if problems:
        return problems[:MAX_PROBLEMS]
    found = [(call, tool) for call, tool in calls if tool is not None]
    data = _accepted(request, plan_hash, idempotency_key, shape, found)
    if isinstance(data, list):
        return data[:MAX_PROBLEMS]
    data.run = run
    for spec in [place.spec for place in admitted(data.plan)]:
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


#: Fields of a step that mean nothing without a tool, where they would be dropped unseen.
_OF_TOOLS: Final = (
    "parameters", "check", "until", "retry", "timeout_seconds", "compensate", "assets", "secrets",
    "become", "connection",
)  # fmt: skip


def _kind_problems(plan: Plan) -> list[Problem]:
    """Fields that do not fit the kind of their step."""
    found: list[Problem] = []
    for place in places(plan):
        step, given = place.step, place.step.model_fields_set
        if not step.tool:
            kind = "a block" if step.steps is not None else "an assertion"
            text = f"{kind} has none: give it to the steps with a tool"
            found += [Problem(f"{place.field}.{name}", text) for name in _OF_TOOLS if name in given]
        if step.assertion is not None and step.for_each is not None:
            text = "an assertion has none: put it into a block, or write all(item, ...)"
            found.append(Problem(f"{place.field}.for_each", text))
        if step.message is not None and step.assertion is None:
            text = "only an assertion has one; `check` and `until` have a message of their own"
            found.append(Problem(f"{place.field}.message", text))
        if step.for_each is None:
            text = "it counts items: give the step a for_each"
            named = [name for name in ("max_failures",) if name in given]
            found += [Problem(f"{place.field}.{name}", text) for name in named]
        if place.field.startswith("plan.finally") and step.compensate is not None:
            text = "nothing is undone after `finally`: leave it out"
            found.append(Problem(f"{place.field}.compensate", text))
    return found


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


def _accepted(
    request: ExecutionRequest,
    plan_hash: str,
    idempotency_key: str,
    shape: Shape,
    calls: list[tuple[Call, Tool]],
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
    specs = _Specs(shape, sla, action, plan.environment, tools)
    last = [_seconds(one) for one in timed if one.call.field.startswith("plan.finally")]
    timeout = plan.timeout_seconds or policy.execution_timeout(
        sla,
        action,
        [_seconds(one) for one in timed if not one.call.field.startswith("plan.finally")],
    )
    level = plan.approval_level
    if any(
        risk.approval_required(tool, call.step.parameters, plan.environment) for call, tool in calls
    ):
        level = max(level, 1)
    return Accepted(
        plan=AdmittedPlan(
            plan.name,
            specs.of(plan.steps, "plan.steps"),
            specs.of(plan.finally_steps or (), "plan.finally"),
            float(policy.execution_timeout(sla, action, last)) if last else 0.0,
            dict(plan.model_extra or {}),
            request.inputs or {},
        ),
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
    for place in places(plan):
        found.extend(f"{place.field}.{name}" for name in place.step.model_extra or ())
    return [name[:200] for name in found[:MAX_PROBLEMS]]


def _written(part: BaseModel | None) -> dict[str, Any] | None:
    return None if part is None else part.model_dump(exclude_none=True)


def _seconds(one: lanes.Timed) -> float:
    return one.timeout_seconds * one.call.rounds + one.call.waits


@dataclass(frozen=True, slots=True)
class _Specs:
    """Makes the admitted form of steps, with what was settled for the whole plan."""

    shape: Shape
    sla: str
    action: str
    environment: str
    tools: dict[str, Tool]

    def of(self, steps: Sequence[Step], field: str) -> tuple[AdmittedStep, ...]:
        """The steps of one list; `field` is where it stands in the plan."""
        found: list[AdmittedStep] = []
        queries: list[AdmittedStep] = []
        for index, step in enumerate(steps):
            where = f"{field}[{index}]"
            spec = self._with_tool(step, where) if step.tool else self._without_tool(step, where)
            spec.depends_on = tuple(self.shape.depends_on[where])
            # What `finally` does, it does whatever becomes of its other steps.
            spec.on_failure = "continue" if field == "plan.finally" else step.on_failure
            spec.description = step.description
            spec.when = step.when
            spec.max_parallel = step.max_parallel
            spec.max_failures = step.max_failures
            if isinstance(step.for_each, AssetItems):
                queries.append(self._query(step.for_each, spec, where))
            else:
                spec.for_each = step.for_each
            found.append(spec)
        # After the others, so that each of those keeps its number.
        return (*found, *queries)

    def _query(self, items: AssetItems, spec: AdmittedStep, field: str) -> AdmittedStep:
        """The step that gives the items of another one, which waits for it from now on."""
        step = asset_query(items, self.environment)
        query = self._with_tool(step, f"{field}.for_each")
        query.depends_on, query.when, query.on_failure = spec.depends_on, spec.when, spec.on_failure
        query.description = f"the items of {spec.id}"
        spec.depends_on = (query.id,)
        spec.for_each = f'steps["{query.id}"].output.hostnames'
        return query

    def _without_tool(self, step: Step, field: str) -> AdmittedStep:
        return AdmittedStep(
            id=self.shape.names[field],
            tool="assert" if step.steps is None else "block",
            domain=ROUTER_DOMAIN,
            parameters={},
            timeout_seconds=0.0,
            lease_seconds=0.0,
            max_attempts=1,
            backoff_seconds=0.0,
            max_backoff_seconds=0.0,
            retry_safe=True,
            assertions=assertions_of(step),
            message=step.message,
            steps=self.of(step.steps or (), f"{field}.steps"),
        )

    def _with_tool(self, step: Step, field: str) -> AdmittedStep:
        sla, action = self.sla, self.action
        attempts = policy.max_attempts(sla, step.retry.max_attempts if step.retry else None)
        tool = self.tools[field]
        name, retry = self.shape.names[field], step.retry or _NO_RETRY
        spec = _runnable(step, name, tool, sla, action, attempts, retry, step.assets)
        spec.assets = step.assets
        spec.secrets = step.secrets
        if step.check is not None:
            spec.check = Check(step.check.condition, step.check.message, step.check.retry)
        if step.until is not None:
            until = step.until
            seconds = until.interval_seconds
            spec.until = Until(until.condition, seconds, until.limit, until.message)
        if step_hosts.applies(tool):
            spec.become, spec.connection = _written(step.become), _written(step.connection)
        if step.compensate is not None:
            undo_tool = self.tools[f"{field}.compensate"]
            attempts = policy.max_attempts(sla, None)
            undo = _runnable(
                step.compensate, "", undo_tool, sla, action, attempts, _NO_RETRY, step.assets
            )
            undo.when = step.compensate.when
            # It acts on them as the step does: policy, locks and executors look at each call alone.
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
        targets=targets.list_names(tool),
        locks=locking.locks(tool, step.parameters, assets=bool(assets)),
    )
