"""Who may use which secret for what and where: the decision, pure.

A rule is about a use if each of its fields is: a field that is left out is about everything. The
rules that deny come first, whatever their order; what no rule allows is denied.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Final, Literal

from drivers.secret_use import Use
from toolmeta.secret_references import SecretPath

Effect = Literal["allow", "deny"]
#: The rule of a verdict that none of the rules gave.
NO_RULE: Final = "no-rule"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule; in every pattern `*` stands for any text, also an empty one."""

    id: str
    effect: Effect
    tenants: tuple[str, ...] = ("*",)
    actors: tuple[str, ...] = ("*",)
    environments: tuple[str, ...] = ("*",)
    tools: tuple[str, ...] = ("*",)
    parameters: tuple[str, ...] = ("*",)
    #: Paths as `source/name`, such as `env/DB_*` or `vault/kv/acme/*`.
    secrets: tuple[str, ...] = ("*",)
    #: Hosts that get the secret, by name and by address. Where the host is not known, a rule that
    #: allows some hosts only allows nothing, and a rule that denies some hosts denies.
    destinations: tuple[str, ...] = ("*",)


#: The fields of a rule that hold patterns.
PATTERNS: Final = tuple(field.name for field in fields(Rule) if field.name not in ("id", "effect"))

#: What holds where the operator gave no rules: secrets that all tenants of an executor would share
#: are the default tenant's; a file is the tenant's own, or one that was put there for all.
DEFAULT_RULES: Final = (
    Rule("default-tenant", "allow", tenants=("default",)),
    Rule("files-of-the-tenant", "allow", secrets=("file/*",)),
)


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a use is allowed, and the id of the rule that says so."""

    allowed: bool
    rule: str


def decide(rules: Iterable[Rule], path: SecretPath, use: Use) -> Verdict:
    """The verdict on one use of one secret; the first rule of the effect that counts is named."""
    allowed: Verdict | None = None
    for rule in rules:
        if not _is_about(rule, path, use):
            continue
        if rule.effect == "deny":
            return Verdict(False, rule.id)
        allowed = allowed or Verdict(True, rule.id)
    return allowed or Verdict(False, NO_RULE)


def _is_about(rule: Rule, path: SecretPath, use: Use) -> bool:
    return (
        _matches(rule.secrets, str(path))
        and _matches(rule.tenants, use.tenant)
        and _matches(rule.actors, use.actor)
        and _matches(rule.environments, use.environment)
        and _matches(rule.tools, use.tool)
        and _matches(rule.parameters, use.parameter)
        and _reaches(rule, use)
    )


def _reaches(rule: Rule, use: Use) -> bool:
    """A rule that allows names both the host and its address; one is enough to be denied."""
    if rule.destinations == ("*",):
        return True
    if use.destination is None:
        return rule.effect == "deny"
    hosts = [use.destination] if use.address is None else [use.destination, use.address]
    named = (_matches(rule.destinations, host) for host in hosts)
    return any(named) if rule.effect == "deny" else all(named)


def _matches(patterns: tuple[str, ...], text: str) -> bool:
    return any(pattern == "*" or _compiled(pattern).fullmatch(text) for pattern in patterns)


@lru_cache(maxsize=4_096)
def _compiled(pattern: str) -> re.Pattern[str]:
    # Each star takes what follows at its first place and never gives it back: linear in the text.
    first, *rest = pattern.split("*")
    parts = [re.escape(first)]
    for index, piece in enumerate(rest):
        last = index == len(rest) - 1
        parts.append(f".*{re.escape(piece)}" if last else f"(?>.*?{re.escape(piece)})")
    return re.compile("".join(parts), re.DOTALL)
