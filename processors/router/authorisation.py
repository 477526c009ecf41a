"""Authorisation: whether the policy lets somebody run a plan, or steer an execution; pure.

A plan is allowed where every call that can ever run is: its tool with the right that the call
needs, on every asset that it names, and every secret that it refers to. A rerun is a plan like any
other: whoever asks for it must be allowed to run what it runs.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from authority.identity import Identity
from authority.policy import (
    Access,
    Control,
    Policy,
    RunStep,
    UseSecret,
    Verdict,
    resource_of,
)
from authority.policy_document import Verb
from processors.router.calls import admitted
from processors.router.state import Execution
from streams.actors import same_actor
from streams.admitted import AdmittedStep
from streams.audit_payloads import Audit
from streams.payloads import Accepted
from streams.vocabulary import Permission
from toolmeta import secret_references, step_hosts
from toolmeta.acted_on import assets_of
from toolmeta.invocation import Problem
from toolmeta.model import Tool
from toolmeta.permissions import permission_of
from toolmeta.registry import Registry

#: The rule of decisions about an execution of another tenant; no policy can change it.
OTHER_TENANT: Final = "other-tenant"
MAX_PROBLEMS: Final = 20
#: Decisions that one plan may need. Each item of a step with each of its secrets is one; a request
#: could make hundreds of millions of them, and the router would do nothing else for minutes.
MAX_ACCESSES: Final = 20_000
#: Authorisations that are remembered; the plan of one is up to MAX_PROBLEMS refusals large.
MAX_REMEMBERED: Final = 256
#: Rules that one `audit.decision` names.
_MAX_RULES: Final = 10
_COLON: Final = re.compile(r"^([a-z]+):")


@dataclass(frozen=True, slots=True)
class Authorisation:
    """What the policy says of a plan: one decision for all of it, and each refusal by its field."""

    audit: Audit
    problems: list[Problem]


@dataclass(frozen=True, slots=True)
class Decided:
    """One access that a plan needs, where in the plan, and what the policy says of it."""

    #: Where the call stands, such as `plan.steps[0].compensate`.
    call: str
    #: What of the call needs it, such as `tool`.
    place: str
    access: Access
    verdict: Verdict

    @property
    def field(self) -> str:
        """The field of the plan that needs it."""
        return f"{self.call}.{self.place}"


def authorise(
    policy: Policy, identity: Identity, data: Accepted, registry: Registry
) -> Authorisation:
    """Whether the identity may run all of this plan; `problems` is empty where it may."""
    rules: dict[str, None] = {}
    refused: list[Decided] = []
    for decided in decisions(policy, identity, data, registry):
        if decided.verdict.allowed:
            rules[decided.verdict.rule] = None
        elif len(refused) < MAX_PROBLEMS:
            refused.append(decided)
    if not refused:
        named = ", ".join(list(rules)[:_MAX_RULES])
        message = f"the plan may run in {data.environment}"
        return Authorisation(
            audit_of(identity, "run", True, message, named, f"plan/{data.plan_hash}"), []
        )
    first = refused[0]
    problems = [Problem(item.field, item.verdict.message) for item in refused]
    verdict, resource = first.verdict, resource_of(first.access)
    told = f"{first.field}: {verdict.message}"
    return Authorisation(audit_of(identity, "run", False, told, verdict.rule, resource), problems)


@dataclass(slots=True)
class Authorisations:
    """What `authorise` said lately, by who asked and for which plan; the policy may change."""

    _policy: Policy | None = None
    _version: int = 0
    _known: OrderedDict[tuple[Identity, str], Authorisation] = field(default_factory=OrderedDict)

    def find(
        self, policy: Policy, identity: Identity, data: Accepted, registry: Registry
    ) -> Authorisation:
        """As `authorise`: the plan hash stands for everything of `data` that it looks at."""
        if policy is not self._policy or registry.version != self._version:
            self._policy, self._version = policy, registry.version
            self._known.clear()
        key = (identity, data.plan_hash)
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = authorise(policy, identity, data, registry)
            if len(self._known) > MAX_REMEMBERED:
                self._known.popitem(last=False)
        return known


def decisions(
    policy: Policy, identity: Identity, data: Accepted, registry: Registry
) -> Iterator[Decided]:
    """What the policy says of every access that the plan needs, in the order of the plan."""
    for call, place, access in accesses(data, registry):
        yield Decided(call, place, access, policy.decide(identity, access))


def accesses(data: Accepted, registry: Registry) -> Iterator[tuple[str, str, Access]]:
    """Everything that the plan needs, each with the call and the part of it that need it."""
    environment: Any = data.environment
    level = data.approval_level
    for call in admitted(data.plan):
        where, spec = call.field, call.spec
        tool = registry.get(spec.tool)
        # What is no longer in the catalogue can only be refused: a rerun after an upgrade.
        action = right_of(tool, spec)
        for asset in assets_of(spec, tool, call.for_each):
            run = RunStep(spec.tool, spec.domain, action, asset, environment, level)
            yield where, "tool", run
            for place, path in secrets_of(spec):
                use = UseSecret(path, spec.tool, spec.domain, asset, environment, level)
                yield where, place, use


def right_of(tool: Tool | None, spec: AdmittedStep) -> Permission:
    """The right that a call needs; of a tool that there is no more the highest."""
    own: Permission = "admin" if tool is None else permission_of(tool, spec.parameters)
    return step_hosts.permission(own, spec.become, spec.connection)


def count_accesses(data: Accepted, registry: Registry) -> int:
    """How many `accesses` the plan has; takes a time that grows with the plan only."""
    found = 0
    for call in admitted(data.plan):
        spec = call.spec
        tool = registry.get(spec.tool)
        assets = assets_of(spec, tool, call.for_each)
        ways = sum(1 for _ in step_hosts.secrets(spec.become, spec.connection))
        found += len(assets) * (1 + len(spec.secret_paths) + len(spec.secrets or ()) + ways)
    return found


def secrets_of(spec: AdmittedStep) -> Iterator[tuple[str, str]]:
    """The path of every secret that a call refers to, and where."""
    for pointer in spec.secret_paths:
        value: Any = spec.parameters
        for part in pointer.split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
        yield "parameters" + pointer.replace("/", "."), _path(value)
    for name, value in (spec.secrets or {}).items():
        if secret_references.is_meant(value):
            yield f"secrets.{name}", _path(value)
    for field_, value in step_hosts.secrets(spec.become, spec.connection):
        yield field_, _path(value)


def _path(reference: dict[str, Any]) -> str:
    # A colon after the source means the slash.
    return _COLON.sub(r"\1/", str(reference["path"]))


def control(policy: Policy, identity: Identity, execution: Execution, verb: Verb) -> Verdict:
    """Whether the identity may do this to an execution; never to one of another tenant."""
    if identity.tenant != execution.tenant:
        return other_tenant(identity)
    environment: Any = execution.environment
    own = same_actor(identity.actor, execution.actor)
    return policy.decide(identity, Control(verb, environment, execution.approval_level, own))


def other_tenant(identity: Identity) -> Verdict:
    """The refusal of whatever somebody asks of an execution that is not their tenant's."""
    message = f"{identity.actor} of tenant {identity.tenant} has no execution with this id"
    return Verdict(False, OTHER_TENANT, message)


def audit_of(
    identity: Identity,
    action: str,
    allowed: bool,
    message: str,
    rule: str | None = None,
    resource: str | None = None,
) -> Audit:
    """The data of an `audit.decision` about this identity."""
    return Audit(
        identity.actor, action, allowed, message, rule, identity.kid, identity.claimed, resource,
        identity.via,
    )  # fmt: skip
