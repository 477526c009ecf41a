"""The policy's decisions: deny wins, what no rule allows is denied, and who a rule is about."""

from __future__ import annotations

from typing import Any

import pytest

from authority import policy as policies
from authority.identity import Identity
from authority.policy import DEFAULT_DENY, Control, Policy, RunStep, UseSecret
from authority.policy_file import built_in, parse
from toolmeta import registry

TOOLS = registry.load()
ANN = Identity("acme", "Ann", "key-1")
NOBODY = Identity("acme", "anonymous", None, "ann")
DF = RunStep("df", "automation", "read", "web-01", "dev", 0)


def policy(*rules: str, roles: str = "", tags: str = "") -> Policy:
    """A policy of rules in flow style."""
    lines = ["version: 1", roles, tags, "rules:", *(f"  - {{{rule}}}" for rule in rules)]
    return parse("\n".join(lines), TOOLS)


def rule_of(found: Policy, access: Any, identity: Identity = ANN) -> str | None:
    """The rule that allows it, None where it is denied."""
    verdict = found.decide(identity, access)
    return verdict.rule if verdict.allowed else None


def test_what_no_rule_allows_is_denied() -> None:
    verdict = policy("id: a, effect: allow, actors: [bob], actions: [read]").decide(ANN, DF)
    assert (verdict.allowed, verdict.rule) == (False, DEFAULT_DENY)
    assert "ann of tenant acme" in verdict.message
    assert "run df (read) on web-01 in dev" in verdict.message


def test_a_rule_that_denies_wins_wherever_it_stands() -> None:
    allow = "id: yes, effect: allow, actors: ['*'], actions: ['*']"
    deny = "id: no, effect: deny, actors: [ann], tools: [df], actions: ['*']"
    for found in (policy(allow, deny), policy(deny, allow)):
        verdict = found.decide(ANN, DF)
        assert (verdict.allowed, verdict.rule) == (False, "no")
        assert rule_of(found, DF._replace(tool="du")) == "yes"


@pytest.mark.parametrize(
    ("narrowed", "access", "other"),
    [
        ("actions: [read]", DF, DF._replace(action="write")),
        ("actions: ['*'], tools: [df]", DF, DF._replace(tool="dig")),
        ("actions: ['*'], tools: ['d*']", DF, DF._replace(tool="nmap", domain="network")),
        ("actions: ['*'], tools: ['automation/*']", DF, DF._replace(domain="network")),
        ("actions: ['*'], tools: ['net*']", DF._replace(tool="netstat"),
         DF._replace(tool="ping", domain="network")),
        ("actions: ['*'], tools: [get-process]", DF._replace(tool="get_process"), DF),
        ("actions: ['*'], assets: ['web-*']", DF, DF._replace(asset="db-01")),
        ("actions: ['*'], assets: ['WEB-0?']", DF, DF._replace(asset="web-011")),
        ("actions: ['*'], assets: ['web-*']", DF, DF._replace(asset=None)),
        ("actions: ['*'], assets: ['*']", DF._replace(asset=None), None),
        ("actions: ['*'], environments: [dev, staging]", DF, DF._replace(environment="prod")),
        ("actions: ['*'], environments: ['*']", DF._replace(environment="prod"), None),
        ("actions: ['*'], approval_levels: [0]", DF, DF._replace(level=1)),
        ("actions: ['*'], tenants: [ac*]", DF, None),
        ("secrets: ['env/MAIL_*']", UseSecret("env/MAIL_KEY", "df", "automation", "a", "dev", 0),
         UseSecret("env/ROOT", "df", "automation", "a", "dev", 0)),
        ("secrets: ['*'], tools: [df]", UseSecret("env/K", "df", "automation", "a", "dev", 0),
         UseSecret("env/K", "curl", "automation", "a", "dev", 0)),
        ("controls: [cancel]", Control("cancel", "dev", 0, False),
         Control("pause", "dev", 0, True)),
        ("controls: ['*'], own: true", Control("rerun", "dev", 0, True),
         Control("rerun", "dev", 0, False)),
        ("controls: [approve], approval_levels: [1]", Control("approve", "prod", 1, False),
         Control("approve", "prod", 2, False)),
    ],
)  # fmt: skip
def test_a_rule_is_about_what_it_names(narrowed: str, access: Any, other: Any) -> None:
    found = policy(f"id: a, effect: allow, actors: [ann], {narrowed}")
    assert rule_of(found, access) == "a"
    if other is not None:
        assert rule_of(found, other) is None
    # Of another tenant, another actor, or without a key nobody is meant.
    assert rule_of(found, access, Identity("acme", "bob", "k")) is None
    assert rule_of(found, access, NOBODY) is None


def test_a_rule_that_gives_steps_gives_neither_secrets_nor_controls() -> None:
    found = policy("id: a, effect: allow, actors: ['*'], actions: ['*']")
    assert rule_of(found, UseSecret("env/K", "df", "automation", "a", "dev", 0)) is None
    assert rule_of(found, Control("cancel", "dev", 0, True)) is None


def test_roles_are_given_by_tenant_and_actor() -> None:
    roles = "roles: {ops: [{tenants: [acme], actors: ['an*']}, {tenants: ['*'], actors: [root]}]}"
    found = policy("id: a, effect: allow, roles: [ops], actions: [read]", roles=roles)
    assert rule_of(found, DF) == "a"
    assert rule_of(found, DF, Identity("other", "ann", "k")) is None
    assert rule_of(found, DF, Identity("other", "root", "k")) == "a"
    assert rule_of(found, DF, Identity("acme", "bob", "k")) is None


def test_tags_are_groups_of_assets() -> None:
    found = policy(
        "id: a, effect: allow, actors: [ann], tags: [db], assets: [web-01], actions: [read]",
        tags="tags: {db: ['db-*', Oracle]}",
    )
    for asset, allowed in (("db-7", True), ("oracle", True), ("web-01", True), ("web-02", False)):
        assert (rule_of(found, DF._replace(asset=asset)) == "a") is allowed, asset


def test_a_wildcard_that_allows_means_actors_with_a_key() -> None:
    found = policy("id: a, effect: allow, actors: ['*'], actions: [read]")
    assert rule_of(found, DF) == "a"
    assert rule_of(found, DF, NOBODY) is None
    # The name alone, without a key, gives nothing either.
    assert rule_of(found, DF, Identity("acme", "ann")) is None
    named = policy("id: a, effect: allow, actors: [anonymous], actions: [read]")
    assert rule_of(named, DF, NOBODY) == "a"
    assert rule_of(named, DF, Identity("acme", "ann")) == "a"


def test_a_wildcard_that_denies_means_everybody() -> None:
    found = policy(
        "id: a, effect: allow, actors: [anonymous], actions: [read]",
        "id: no, effect: deny, actors: ['*'], assets: [db-01], actions: ['*']",
    )
    assert rule_of(found, DF, NOBODY) == "a"
    assert rule_of(found, DF._replace(asset="db-01"), NOBODY) is None


def test_a_target_that_only_the_run_will_tell_may_be_one_that_is_denied() -> None:
    found = policy(
        "id: a, effect: allow, actors: ['*'], actions: ['*']",
        "id: no, effect: deny, actors: ['*'], assets: [db-01], actions: ['*']",
    )
    verdict = found.decide(ANN, DF._replace(asset=None))
    assert (verdict.allowed, verdict.rule) == (False, "no")
    assert "name the target itself" in verdict.message


def test_actors_are_compared_without_case() -> None:
    found = policy("id: a, effect: allow, actors: [ANN], actions: [read]")
    assert rule_of(found, DF, Identity("acme", "aNN", "k")) == "a"
    assert rule_of(found, DF, Identity("ACME", "ann", "k")) == "a"


@pytest.mark.parametrize(
    ("access", "anonymous", "operator"),
    [
        (DF, "anonymous-dev", "admin-runs"),
        (DF._replace(action="admin"), "anonymous-dev", "admin-runs"),
        (UseSecret("env/A", "curl", "automation", "web-01", "dev", 0), None, "admin-runs"),
        (DF._replace(level=1), None, "admin-runs"),
        (DF._replace(environment="staging"), None, "admin-runs"),
        (DF._replace(environment="prod"), None, "admin-runs"),
        (Control("cancel", "dev", 0, True), "anonymous-dev-controls", "admin-controls"),
        (Control("cancel", "dev", 0, False), None, "admin-controls"),
        (Control("cancel", "prod", 0, True), None, "admin-controls"),
        (Control("approve", "dev", 1, True), None, "admin-controls"),
        (Control("approve", "prod", 3, False), None, "admin-controls"),
        (Control("explain", "dev", 0, True), "anonymous-dev-controls", "admin-controls"),
    ],
)
def test_the_built_in_policy(access: Any, anonymous: str | None, operator: str | None) -> None:
    found = built_in(TOOLS)
    assert rule_of(found, access, Identity("default", "anonymous")) == anonymous
    assert rule_of(found, access, Identity("default", "operator", "k")) == operator
    assert rule_of(found, access, Identity("other", "operator", "k")) is None


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policies, "MAX_REMEMBERED", 10)
    found = policy("id: a, effect: allow, actors: ['*'], assets: ['a-*'], actions: [read]")
    for number in range(100):
        assert rule_of(found, DF._replace(asset=f"a-{number}")) == "a"
        identity = Identity("acme", f"ann-{number}", "k")
        assert rule_of(found, DF._replace(asset="b"), identity) is None
    assert len(found._decided) <= 10
    assert len(found._of_subject) <= 10
