"""The policy: whether an identity may do something; compiled once, and pure.

Explicit deny wins, then the first rule that allows, else it is denied. What is not known yet, such
as a target that a template names, is allowed only by a rule for every asset, and denied by a rule
for any.

An identity without a key is anonymous, whatever actor it names. In a rule that allows, wildcards
stand for actors with a key: anonymous is allowed only what a rule gives to `anonymous` by name. In
a rule that denies they stand for everybody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from authority.identity import Identity
from authority.policy_document import Document, Member, Rule, Verb
from streams.actors import ANONYMOUS
from streams.vocabulary import Environment, Permission

#: The rule that decisions name where no rule of the file allows.
DEFAULT_DENY: Final = "default-deny"

#: Decisions that are remembered; then all are forgotten, and made again.
MAX_REMEMBERED: Final = 50_000


class RunStep(NamedTuple):
    """Running a tool: with which right, on which asset (None: known only during the run)."""

    tool: str
    domain: str
    action: Permission
    asset: str | None
    environment: Environment
    level: int


class UseSecret(NamedTuple):
    """Giving a secret to a tool."""

    path: str
    tool: str
    domain: str
    asset: str | None
    environment: Environment
    level: int


class Control(NamedTuple):
    """Steering an execution; `own` where the same actor asked for it."""

    verb: Verb
    environment: Environment
    level: int
    own: bool


Access = RunStep | UseSecret | Control


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether it is allowed, by which rule, and, where it is not, what to do about it."""

    allowed: bool
    rule: str
    message: str


_Test = Callable[[str], object]


class _Subject(NamedTuple):
    tenant: str
    actor: str
    proven: bool


@dataclass(frozen=True, slots=True)
class _Compiled:
    """One rule, its patterns as one expression each; None where it narrows nothing."""

    id: str
    deny: bool
    actions: frozenset[str]
    controls: frozenset[str]
    secrets: _Test | None
    environments: frozenset[str] | None
    tools: _Test | None
    assets: _Test | None
    every_asset: bool
    levels: frozenset[int] | None
    own: bool

    def matches(self, access: Access) -> bool:
        """Whether the rule is about this access."""
        if self.environments is not None and access.environment not in self.environments:
            return False
        if self.levels is not None and access.level not in self.levels:
            return False
        if isinstance(access, Control):
            return access.verb in self.controls and (access.own or not self.own)
        if isinstance(access, RunStep):
            if access.action not in self.actions:
                return False
        elif self.secrets is None or not self.secrets(access.path):
            return False
        if self.tools is not None and not self.tools(f"{access.domain}/{access.tool}"):
            return False
        if access.asset is None:
            return self.deny or self.every_asset
        return self.assets is None or bool(self.assets(access.asset))


@dataclass(slots=True)
class Policy:
    """The rules of one file, ready to decide."""

    document: Document
    _rules: list[tuple[Rule, _Compiled]] = field(init=False)
    _of_subject: dict[_Subject, tuple[_Compiled, ...]] = field(default_factory=dict)
    _decided: dict[tuple[_Subject, Access], Verdict] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Compile every rule, those that deny first."""
        ordered = sorted(self.document.rules, key=lambda rule: rule.effect != "deny")
        self._rules = [(rule, _compiled(rule, self.document)) for rule in ordered]

    def decide(self, identity: Identity, access: Access) -> Verdict:
        """Whether the identity may do this."""
        subject = _Subject(identity.tenant, identity.actor.lower(), identity.kid is not None)
        key = (subject, access)
        known = self._decided.get(key)
        if known is None:
            if len(self._decided) >= MAX_REMEMBERED:
                self._decided.clear()
            known = self._decided[key] = self._decide(subject, access)
        return known

    def _decide(self, subject: _Subject, access: Access) -> Verdict:
        rules = self._of_subject.get(subject)
        if rules is None:
            if len(self._of_subject) >= MAX_REMEMBERED:
                self._of_subject.clear()
            rules = self._of_subject[subject] = tuple(
                compiled for rule, compiled in self._rules if self._is_for(rule, subject)
            )
        for rule in rules:
            if rule.matches(access):
                return Verdict(not rule.deny, rule.id, _message(subject, access, rule))
        return Verdict(False, DEFAULT_DENY, _message(subject, access, None))

    def _is_for(self, rule: Rule, subject: _Subject) -> bool:
        """Whether the rule is about this tenant and actor."""
        if rule.tenants is not None and not _any(rule.tenants)(subject.tenant):
            return False
        if rule.actors is None and rule.roles is None:
            return True
        deny = rule.effect == "deny"
        if rule.actors is not None and _is_named(rule.actors, subject, deny):
            return True
        members: Iterable[Member] = (
            member for name in rule.roles or () for member in self.document.roles[name]
        )
        return any(
            _any(member.tenants)(subject.tenant) and _is_named(member.actors, subject, deny)
            for member in members
        )


def _is_named(actors: tuple[str, ...], subject: _Subject, deny: bool) -> bool:
    lowered = tuple(pattern.lower() for pattern in actors)
    if subject.proven:
        return bool(_any(lowered)(subject.actor))
    return ANONYMOUS in lowered or (deny and bool(_any(lowered)(ANONYMOUS)))


def _any(patterns: Iterable[str], any_text: str = ".*") -> _Test:
    """A test whether a text is one of these patterns, in which `*` and `?` are wildcards."""
    alternatives = "|".join(_regex(pattern, any_text) for pattern in patterns)
    return re.compile(alternatives, re.DOTALL).fullmatch


def _regex(pattern: str, any_text: str) -> str:
    """One pattern; each star takes what follows at its first place and never gives it back.

    So the time of a test is bounded by the lengths of text and pattern, whatever a plan names.
    """
    first, *rest = (re.escape(piece).replace("\\?", ".") for piece in pattern.split("*"))
    for index, piece in enumerate(rest):
        last = index == len(rest) - 1
        first += f"{any_text}{piece}" if last else f"(?>{any_text}?{piece})"
    return first


def tool_test(patterns: Iterable[str]) -> _Test:
    """A test whether `domain/name` is one of these tools; a pattern without domain is for all."""
    whole = (name if "/" in name else f"*/{name}" for name in patterns)
    return _any((name.replace("-", "_") for name in whole), any_text="[^/]*")


def _compiled(rule: Rule, document: Document) -> _Compiled:
    assets = list(rule.assets or ())
    for tag in rule.tags or ():
        assets.extend(document.tags[tag])
    narrowed = rule.assets is not None or rule.tags is not None
    environments = rule.environments
    return _Compiled(
        id=rule.id,
        deny=rule.effect == "deny",
        actions=_words(rule.actions, Permission),
        controls=_words(rule.controls, Verb),
        secrets=None if rule.secrets is None else _any(rule.secrets),
        environments=None
        if environments is None or "*" in environments
        else frozenset(environments),
        tools=None if rule.tools is None else tool_test(rule.tools),
        assets=_any(name.lower() for name in assets) if narrowed else None,
        every_asset=not narrowed or "*" in assets,
        levels=None if rule.approval_levels is None else frozenset(rule.approval_levels),
        own=rule.own is True,
    )


def _words(given: tuple[str, ...] | None, known: object) -> frozenset[str]:
    """The words of a rule; `*` stands for all that there are."""
    if given is None:
        return frozenset()
    return frozenset(known.__args__) if "*" in given else frozenset(given)  # type: ignore[attr-defined]


def _message(subject: _Subject, access: Access, rule: _Compiled | None) -> str:
    """What was decided, as a sentence; a refusal says what to ask for."""
    who = f"{subject.actor} of tenant {subject.tenant}" if subject.proven else ANONYMOUS
    what = described(access)
    if rule is None:
        remedy = "ask for a rule that does"
        if not subject.proven:
            remedy = f"sign the {'request' if not isinstance(access, Control) else 'message'}, "
            remedy += "or allow it in the policy"
        return f"no rule allows {who} to {what}; {remedy}"
    if not rule.deny:
        return f"rule {rule.id} allows {who} to {what}"
    unknown = ""
    if not isinstance(access, Control) and access.asset is None and rule.assets is not None:
        unknown = "; name the target itself, not a template, if it is none of those"
    return f"rule {rule.id} denies {who} to {what}{unknown}"


def described(access: Access) -> str:
    """An access as a sentence part: `run df (read) on web-01 in prod`."""
    level = f", at approval level {access.level}" if access.level else ""
    if isinstance(access, Control):
        whose = "an execution of their own" if access.own else "an execution of somebody else's"
        if access.verb == "explain":
            whose = "a plan"
        elif access.verb == "apply":
            whose = "a procedure"
        return f"{access.verb} {whose} in {access.environment}{level}"
    asset = "an asset that only the run will tell" if access.asset is None else access.asset
    where = f"on {asset} in {access.environment}{level}"
    if isinstance(access, UseSecret):
        return f"use secret {access.path} with {access.tool} {where}"
    return f"run {access.tool} ({access.action}) {where}"


def resource_of(access: Access) -> str:
    """What an access is about, for `audit.decision`: `tool/df`, `secret/env/NAME`."""
    if isinstance(access, Control):
        return f"environment/{access.environment}"
    if isinstance(access, UseSecret):
        return f"secret/{access.path}"
    return f"tool/{access.tool}"
