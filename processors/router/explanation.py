"""Explanation: what would become of a request, and everything that is known before the run; pure.

It is made from the very decision that the router takes about the same request, so that the two
agree.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from authority.identity import Identity
from authority.policy import Policy, RunStep
from processors.router import policy as rules
from processors.router.authorisation import Decided, decisions, right_of, secrets_of
from processors.router.calls import admitted
from runtime.cel.expressions import has_references
from streams.admitted import AdmittedStep
from streams.explained import Explained, ExplainedCall
from streams.limits import MAX_RECORD_BYTES
from streams.payloads import Accepted, Duplicate, Rejected
from toolmeta.bind import bind
from toolmeta.registry import Registry
from toolmeta.risk import approval_required

#: What stands for a secret in an invocation.
MASK: Final = "***"
#: What the calls may take of the event; the rest is left for the problems.
_CALLS_BYTES: Final = MAX_RECORD_BYTES * 3 // 4


def explanation(
    outcome: Accepted | Rejected | Duplicate,
    data: Accepted | None,
    identity: Identity,
    policy: Policy,
    registry: Registry,
    duplicate_of: str | None = None,
) -> Explained:
    """What is told of a request with this outcome; `data` is the plan as admitted, if it was."""
    found = Explained("accepted", identity.actor, duplicate_of=duplicate_of)
    if isinstance(outcome, Rejected):
        found.answer, found.reason, found.message = "rejected", outcome.reason, outcome.message
        found.problems = outcome.problems
    elif isinstance(outcome, Duplicate):
        found.answer = "duplicate"
    if data is None:
        return found
    timings = rules.timings(data.sla_class, data.action_class)
    found.plan_hash, found.environment = data.plan_hash, data.environment
    found.sla_class, found.mode, found.action_class = data.sla_class, data.mode, data.action_class
    found.priority, found.approval_level = data.priority, data.approval_level
    found.timeout_seconds, found.sla_seconds = data.timeout_seconds, data.sla_seconds
    found.approval_seconds = timings.approval if data.approval_level else None
    _add_calls(found, data, identity, policy, registry)
    return found


def _add_calls(
    found: Explained, data: Accepted, identity: Identity, policy: Policy, registry: Registry
) -> None:
    decided: dict[str, list[Decided]] = {}
    for item in decisions(policy, identity, data, registry):
        decided.setdefault(item.call, []).append(item)
    size = 0
    for one in admitted(data.plan):
        call = _call(one.field, one.spec, decided[one.field], data, registry)
        size += len(orjson.dumps(call))
        if size > _CALLS_BYTES:
            found.calls_left_out += 1
        else:
            found.calls.append(call)


def _call(
    field: str, spec: AdmittedStep, decided: list[Decided], data: Accepted, registry: Registry
) -> ExplainedCall:
    tool = registry.get(spec.tool)
    environment: Any = data.environment
    refused = [one for one in decided if not one.verdict.allowed]
    counts = (refused or decided)[0].verdict
    return ExplainedCall(
        field=field,
        step=spec.id or None,
        tool=spec.tool,
        action=right_of(tool, spec),
        assets=[one.access.asset for one in decided if isinstance(one.access, RunStep)],
        locks=spec.locks,
        approval=tool is not None and approval_required(tool, spec.parameters, environment),
        allowed=not refused,
        rule=counts.rule,
        message=counts.message if refused else None,
        timeout_seconds=spec.timeout_seconds,
        max_attempts=spec.max_attempts,
        secrets=sorted({path for _, path in secrets_of(spec)}),
        become=None if spec.become is None else spec.become["user"],
        connection=spec.connection,
        templates=[name for name, value in spec.parameters.items() if has_references(value)],
        invocation=_invocation(spec, registry),
    )


def _invocation(spec: AdmittedStep, registry: Registry) -> dict[str, Any] | None:
    """What would be called, with secrets masked; None where only the run will tell."""
    tool = registry.get(spec.tool)
    if tool is None or spec.references:
        return None
    parameters = spec.parameters
    if spec.secret_paths:
        parameters = orjson.loads(orjson.dumps(parameters))
        for pointer in spec.secret_paths:
            _mask(parameters, pointer)
    bound = bind(tool, parameters)
    if isinstance(bound, list):
        return None
    if bound.argv:
        shown = {"argv": list(bound.argv), "stdin": bound.stdin, "env": bound.env}
    else:
        shown = {"driver": bound.driver, "call": bound.call, "arguments": bound.arguments}
    shown["host"] = bound.host
    return {name: value for name, value in shown.items() if value not in (None, {})}


def _mask(parameters: dict[str, Any], pointer: str) -> None:
    value: Any = parameters
    *way, last = (part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:])
    for part in way:
        value = value[int(part)] if isinstance(value, list) else value[part]
    if isinstance(value, list):
        value[int(last)] = MASK
    else:
        value[last] = MASK
