"""Reruns: a new execution of the same plan that keeps what succeeded."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import orjson

from authority.identity import Identity
from authority.policy import Policy
from processors.router import policy
from processors.router.authorisation import audit_of, authorise, control, other_tenant
from processors.router.calls import approval_level, definitions
from processors.router.entries import DedupEntry
from processors.router.state import Execution
from streams.actors import same_actor
from streams.admitted import encode_plan
from streams.audit_payloads import Audit
from streams.commands import Redrive, Rerun
from streams.lifecycle import RERUNNABLE
from streams.limits import MAX_RECORD_BYTES
from streams.payloads import Accepted
from toolmeta.registry import Registry

NOT_RERUNNABLE: Final = "only what failed, stopped or timed out can be run again; it is {}"
#: Actors that a chain of reruns remembers.
MAX_EARLIER_ACTORS: Final = 50
#: What the event of the new execution holds besides the plan and the outputs.
_REST_BYTES: Final = 24 * 1024


@dataclass(frozen=True, slots=True)
class RerunDecision:
    """What follows from a rerun: the decision, and the new execution with its own, if allowed."""

    audit: Audit
    run: tuple[Accepted, Audit] | None


def decide_rerun(
    known: Execution | DedupEntry,
    origin: Execution | None,
    command: Rerun | Redrive,
    identity: Identity,
    new_id: str,
    rules: Policy,
    tools: Registry,
    over_quota: str | None = None,
) -> RerunDecision:
    """Whether the identity may have `known` run again as `new_id`.

    `origin` is all that is known of it, None where too little is left; `over_quota` says why the
    tenant may have nothing more now. Whoever asks needs the right to ask, and the rights to run
    everything that it runs.
    """
    resource = f"execution/{known.id}"

    def refuse(message: str, rule: str | None) -> RerunDecision:
        return RerunDecision(audit_of(identity, command.type, False, message, rule, resource), None)

    if identity.tenant != known.tenant:
        verdict = other_tenant(identity)
        return refuse(verdict.message, verdict.rule)
    if origin is None:
        return refuse(NOT_RERUNNABLE.format(known.status), None)
    verdict = control(rules, identity, origin, command.type)
    if not verdict.allowed:
        return refuse(verdict.message, verdict.rule)
    step = command.step if isinstance(command, Redrive) else command.from_step
    data = rerun_of(origin, step, identity, new_id)
    if isinstance(data, str):
        return refuse(data, verdict.rule)
    # Its approvals are its own, so what needs one and what it is of are as they are now.
    data.approval_level = approval_level(data.approval_level, data.plan, data.environment, tools)
    data.definitions = definitions(data.plan, tools) if data.approval_level else None
    if over_quota is not None:
        return refuse(over_quota, verdict.rule)
    run = authorise(rules, identity, data, tools)
    if run.problems:
        return refuse(run.audit.message or "", run.audit.rule)
    told = f"rerun as {new_id}"
    audit = audit_of(identity, command.type, True, told, verdict.rule, resource)
    return RerunDecision(audit, (data, run.audit))


def rerun_of(
    execution: Execution, from_step: str | None, identity: Identity, new_id: str
) -> Accepted | str:
    """The data of the new execution's `execution.accepted`, or why there is none.

    Every step that succeeded keeps its output and is not run again, unless it is `from_step` or
    comes after it.
    """
    if execution.status not in RERUNNABLE:
        return NOT_RERUNNABLE.format(execution.status)
    again: set[str] = set()
    if from_step is not None:
        first = from_step.partition("[")[0].partition(".")[0]
        if first not in {spec.id for spec in execution.plan.steps}:
            return f"there is no step {first}"
        again = _after(execution, first)
    carried: dict[str, Any] = {
        spec.id: execution.steps[spec.id].output
        for spec in execution.plan.steps
        if execution.steps[spec.id].status == "succeeded" and spec.id not in again
    }
    earlier = list(execution.earlier_actors)
    for actor in (execution.actor, execution.claimed_actor):
        if actor and not any(same_actor(actor, other) for other in earlier):
            earlier.append(actor)
    if len(earlier) > MAX_EARLIER_ACTORS:
        return (
            f"more than {MAX_EARLIER_ACTORS} actors have asked for it, one after the other: "
            "submit the plan again"
        )
    size = len(encode_plan(execution.plan)) + len(orjson.dumps(carried)) + _REST_BYTES
    if size > MAX_RECORD_BYTES:
        return (
            f"the plan and the outputs to keep have {size} bytes; {MAX_RECORD_BYTES} are allowed: "
            "rerun from an earlier step, or submit the plan again"
        )
    return Accepted(
        plan=execution.plan,
        plan_hash=execution.plan_hash,
        actor=identity.actor,
        environment=execution.environment,
        idempotency_key=f"rerun:{new_id}",
        sla_class=execution.sla_class,
        mode=execution.mode,
        action_class=execution.action_class,
        priority=execution.priority,
        timeout_seconds=execution.timeout_seconds,
        sla_seconds=policy.sla_seconds(execution.sla_class, execution.timeout_seconds),
        approval_level=execution.approval_level,
        name=execution.plan.name,
        rerun_of=execution.id,
        earlier_actors=earlier,
        carried=carried,
        key=identity.kid,
        via=identity.via,
        claimed_actor=identity.claimed,
        procedure=execution.procedure,
    )


def _after(execution: Execution, first: str) -> set[str]:
    """The step and everything that waits for it, directly or not."""
    found = {first}
    queue = [first]
    while queue:
        for name in execution.dependents.get(queue.pop(), ()):
            if name not in found:
                found.add(name)
                queue.append(name)
    return found
