"""Who may use which secret: the decision, the default rules, and the file of the rules."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.secret_policy import DEFAULT_RULES, NO_RULE, Rule, Verdict, decide
from drivers.secret_policy_file import PolicyFile, read
from drivers.secret_use import SecretError, Use
from toolmeta.secret_references import SecretPath, parse

USE = Use(
    "acme", "ci@acme", "curl", "prod", "e", "s", 1, parameter="headers", destination="api.acme.com"
)


def path(text: str) -> SecretPath:
    found = parse(text)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("tenant", "text", "rule"),
    [
        ("default", "env/TOKEN", "default-tenant"),
        ("default", "vault/kv/app#k", "default-tenant"),
        ("default", "file/own", "default-tenant"),
        ("acme", "file/own", "files-of-the-tenant"),
        ("acme", "env/TOKEN", None),
        ("acme", "vault/kv/acme/app#k", None),
        ("acme", "aws/acme", None),
        ("defaults", "env/TOKEN", None),
        ("Default", "env/TOKEN", None),
    ],
)
def test_without_rules_shared_secrets_are_the_default_tenants(
    tenant: str, text: str, rule: str | None
) -> None:
    verdict = decide(DEFAULT_RULES, path(text), replace(USE, tenant=tenant))
    assert verdict == Verdict(rule is not None, rule or NO_RULE)


#: Each field of a rule, with a pattern that is about the use and one that is not.
FIELDS = {
    "tenants": (("ac*",), ("other",)),
    "actors": (("*@acme",), ("*@other",)),
    "environments": (("prod",), ("dev", "staging")),
    "tools": (("cu*l",), ("webhook_sender",)),
    "parameters": (("headers",), ("body",)),
    "secrets": (("env/T*",), ("env/A*", "file/*")),
    "destinations": (("*.acme.com",), ("acme.com", "*.acme.org")),
}


@pytest.mark.parametrize("name", FIELDS)
def test_every_field_of_a_rule_counts(name: str) -> None:
    about, other = FIELDS[name]
    token = path("env/TOKEN")
    assert decide([Rule("one", "allow", **{name: about})], token, USE) == Verdict(True, "one")
    assert decide([Rule("one", "allow", **{name: other})], token, USE) == Verdict(False, NO_RULE)


def test_what_denies_comes_first_whatever_the_order() -> None:
    rules = [
        Rule("a", "allow"),
        Rule("b", "allow"),
        Rule("d", "deny", destinations=("*.acme.com",)),
    ]
    assert decide(rules, path("env/TOKEN"), USE) == Verdict(False, "d")
    elsewhere = replace(USE, destination="api.other.com")
    assert decide(rules, path("env/TOKEN"), elsewhere) == Verdict(True, "a")


def test_a_host_that_is_not_known_is_the_worst_one() -> None:
    unknown = replace(USE, destination=None)
    bound = Rule("bound", "allow", destinations=("api.acme.com",))
    assert not decide([bound], path("env/TOKEN"), unknown).allowed
    denied = Rule("denied", "deny", destinations=("evil.example",))
    assert not decide([Rule("all", "allow"), denied], path("env/TOKEN"), unknown).allowed


@given(st.text(st.sampled_from("ab*."), max_size=12), st.text(st.sampled_from("ab."), max_size=20))
def test_a_star_stands_for_any_text(pattern: str, text: str) -> None:
    def matches(want: str, have: str) -> bool:
        if not want:
            return not have
        if want[0] == "*":
            return any(matches(want[1:], have[at:]) for at in range(len(have) + 1))
        return bool(have) and have[0] == want[0] and matches(want[1:], have[1:])

    if not pattern:
        return
    verdict = decide(
        [Rule("one", "allow", tools=(pattern,))], path("env/T"), replace(USE, tool=text)
    )
    assert verdict.allowed == matches(pattern, text)


def written(folder: Path, text: str, mode: int = 0o644) -> Path:
    file = folder / "secrets.yaml"
    file.write_text(text)
    file.chmod(mode)
    return file


GOOD = """
rules:
  - id: hooks
    effect: allow
    tenants: [acme]
    secrets: ["env/HOOK_*"]
    destinations: ["hooks.acme.com"]
"""


def test_the_rules_of_a_file(tmp_path: Path) -> None:
    (rule,) = read(written(tmp_path, GOOD))
    assert rule == Rule(
        "hooks", "allow", tenants=("acme",), secrets=("env/HOOK_*",),
        destinations=("hooks.acme.com",),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rules: [", "no YAML"),
        ("rules:\n  - {id: a, effect: permit}", "rules.0.effect"),
        ("rules:\n  - {id: a, effect: allow, tenant: [x]}", "rules.0.tenant"),
        ("rules:\n  - {effect: allow}", "rules.0.id"),
        (
            "rules:\n  - {id: a, effect: allow}\n  - {id: a, effect: deny}",
            "two rules have the id a",
        ),
        ("rules:\n  - {id: a, effect: allow, tenants: []}", "rules.0.tenants"),
        ("rules:\n  - {id: a, effect: allow, tenants: ['" + "*a" * 9 + "']}", "at most 8"),
        ("rules:\n  - {id: a, effect: allow, destinations: [Host]}", "lower case"),
        ("- 1", "the document"),
    ],
)
def test_a_file_that_says_something_else_is_refused(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        read(written(tmp_path, text))


def test_a_file_that_others_may_write_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="others than its owner"):
        read(written(tmp_path, GOOD, 0o666))


def test_a_changed_file_counts_at_once_and_a_broken_one_denies(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    policy = PolicyFile(str(file))
    assert [rule.id for rule in policy.rules()] == ["hooks"]
    file.write_text("rules: []")
    os.utime(file, ns=(1, 1))
    assert policy.rules() == ()
    file.write_text("rules: [")
    os.utime(file, ns=(2, 2))
    for _ in range(2):
        with pytest.raises(SecretError, match="RUNSTREAM_SECRETS_POLICY") as caught:
            policy.rules()
        assert caught.value.error_class == "secret_denied"
    file.write_text(GOOD)
    os.utime(file, ns=(3, 3))
    assert [rule.id for rule in policy.rules()] == ["hooks"]
    file.unlink()
    with pytest.raises(SecretError, match="cannot be read"):
        policy.rules()


@pytest.mark.parametrize(
    ("address", "allowed"),
    [(None, True), ("10.0.0.7", True), ("evil.example.org", False), ("192.0.2.1", False)],
)
def test_name_and_address_must_both_be_among_the_destinations(
    address: str | None, allowed: bool
) -> None:
    use = replace(USE, destination="web-01", address=address)
    rules = [Rule("web", "allow", destinations=("web-*", "10.0.*"))]
    assert decide(rules, path("env/TOKEN"), use).allowed is allowed
    # One of them is enough for a rule that denies.
    rules = [Rule("all", "allow"), Rule("no", "deny", destinations=("10.0.*",))]
    assert decide(rules, path("env/TOKEN"), use).allowed is (address != "10.0.0.7")
    only_address = replace(USE, destination=None, address="10.0.0.7")
    assert not decide(
        [Rule("a", "allow", destinations=("10.0.*",))], path("env/T"), only_address
    ).allowed
