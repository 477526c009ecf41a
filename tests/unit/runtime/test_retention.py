"""Which rows a policy lets go: nothing that it does not name, and the log last."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from runtime.retention import Retention, RetentionFault, RowClass, rules, rules_before
from runtime.settings import SettingsError, SinkSettings, load

NOW = datetime(2026, 11, 20, tzinfo=UTC)


def policy(**given: Any) -> Retention:
    return Retention.model_validate(given)


def named(found: Any) -> list[tuple[str, str | None, int]]:
    """Class, tenant and age in days of each rule."""
    return [(rule.rows, rule.tenant, (NOW - rule.before).days) for rule in found]


def test_without_a_policy_nothing_goes() -> None:
    assert policy().is_empty
    assert named(rules(policy(), NOW)) == []
    assert load(SinkSettings).retention.is_empty


def test_a_tenant_has_its_own_ages_and_the_others_the_default() -> None:
    given = policy(
        default={"output_days": 7, "executions_days": 90, "events_days": 400},
        tenants={
            "acme": {"output_days": 30},
            "bank": {"executions_days": None, "events_days": None},
        },
        dead_letters_days=30,
    )
    assert not given.is_empty
    assert named(rules(given, NOW)) == [
        ("output", "acme", 30), ("executions", "acme", 90), ("events", "acme", 400),
        ("output", "bank", 7),
        ("output", None, 7), ("executions", None, 90), ("events", None, 400),
        ("dead_letters", None, 30),
    ]  # fmt: skip
    assert {rule.others for rule in rules(given, NOW) if rule.tenant is None} == {
        ("acme", "bank"), (),
    }  # fmt: skip
    assert named(rules(given, NOW, "bank")) == [("output", "bank", 7)]
    assert named(rules(given, NOW, "new")) == [
        ("output", "new", 7), ("executions", "new", 90), ("events", "new", 400),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"default": {"events_days": 30}}, "default: events_days (30) is shorter than executions"),
        (
            {"default": {"executions_days": 90, "events_days": 30}},
            "default: events_days (30) is shorter than executions are kept (90 days)",
        ),
        (
            {"default": {"executions_days": 9}, "tenants": {"acme": {"output_days": 10}}},
            "tenants.acme: output_days (10) is longer than executions_days (9)",
        ),
        ({"default": {"executions_days": 7}}, "greater than or equal to 8"),
        ({"default": {"output_days": 0}}, "greater than or equal to 1"),
        ({"default": {"outputs": 7}}, "Extra inputs are not permitted"),
    ],
)
def test_a_policy_that_cannot_be_meant_stops_the_process(
    given: dict[str, Any], sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNSTREAM_RETENTION", json.dumps(given))
    with pytest.raises(SettingsError) as fault:
        load(SinkSettings)
    assert str(fault.value).startswith("RUNSTREAM_RETENTION: ")
    assert sentence in str(fault.value)
    assert "\n" not in str(fault.value)


LOG: tuple[RowClass, ...] = ("events",)
BY_AGE: tuple[RowClass, ...] = ("output", "executions")


def test_a_run_by_another_age_never_shortens_the_log() -> None:
    given = policy(default={"executions_days": 90, "events_days": 400})
    ago = NOW - timedelta(days=30)
    assert named(rules_before(given, NOW, ago, BY_AGE)) == [
        ("output", None, 30), ("executions", None, 30),
    ]  # fmt: skip
    for kept, before in ((given, ago), (policy(), NOW - timedelta(days=9_000))):
        with pytest.raises(RetentionFault, match="the log of every tenant is kept for"):
            list(rules_before(kept, NOW, before, LOG))
    old = NOW - timedelta(days=401)
    assert named(rules_before(given, NOW, old, LOG, "acme")) == [("events", "acme", 401)]


@pytest.mark.parametrize(
    ("wanted", "days", "tenant", "sentence"),
    [
        ("executions", 7, None, "executions are kept for 8 days at least"),
        ("output", 0, None, "output are kept for 1 days at least"),
        ("dead_letters", 30, "acme", "dead letters belong to no tenant"),
    ],
)
def test_a_run_that_no_rule_allows(wanted: Any, days: int, tenant: Any, sentence: str) -> None:
    with pytest.raises(RetentionFault, match=sentence):
        list(rules_before(policy(), NOW, NOW - timedelta(days=days), (wanted,), tenant))
