"""The effect of a call: by its operation, and never less than a parameter that raises it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.toolmeta.samples import sample
from toolmeta import registry
from toolmeta.definitions import CatalogueError
from toolmeta.effects import worst
from toolmeta.model import Tool
from toolmeta.risk import (
    UNATTENDED,
    action_class_of,
    approval_environments,
    approval_required,
    effect_of,
)


def raised(by: str) -> Tool:
    """kubectl, with a parameter that makes every call a destructive one."""
    tool = registry.load().get("kubectl")
    assert tool is not None
    risk = tool.risk.model_copy(update={"raised_by": {by: "destroy"}})
    return tool.model_copy(update={"risk": risk})


def test_a_parameter_raises_the_effect_where_it_is_set() -> None:
    tool = raised("namespace")
    assert effect_of(tool, {"command": "get"}) == "read"
    assert effect_of(tool, {"command": "get", "namespace": "shop"}) == "destroy"
    assert effect_of(tool, {"command": "get", "namespace": "{{ item }}"}) == "destroy"


def test_the_worst_effect_counts() -> None:
    assert worst("read", "destroy", "modify") == "destroy"
    assert worst("read") == "read"


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("chmod", {"path": "/etc", "mode": "0777"}),
        ("chown", {"path": "/etc", "owner": "app"}),
        ("systemctl", {"action": "stop", "unit": "nginx.service"}),
        ("systemctl", {"action": "restart", "unit": "nginx.service"}),
        ("systemctl", {"action": "disable", "unit": "nginx.service"}),
        ("psql", {"query": "drop table t", "write": True}),
        ("curl", {"url": "https://example.org", "method": "DELETE"}),
        ("curl", {"url": "https://example.org", "method": "PUT"}),
        ("curl", {"url": "https://example.org", "method": "{{ item }}"}),
        ("webhook_sender", {"url": "https://example.org"}),
        ("webhook_sender", {"url": "https://example.org", "method": "DELETE"}),
        ("asset_delete", {"id": "x"}),
        ("asset_create", {"hostname": "a", "metadata": {"connection": {"user": "ops"}}}),
        ("asset_create", {"hostname": "a", "metadata": "{{ item }}"}),
    ],
)
def test_in_prod_what_changes_something_needs_approval(
    name: str, parameters: dict[str, object]
) -> None:
    tool = registry.load().get(name)
    assert tool is not None
    assert approval_required(tool, parameters, "prod")


@pytest.mark.parametrize("name", sorted(UNATTENDED))
def test_what_runs_unattended_in_prod_destroys_nothing(name: str) -> None:
    tool = registry.load().get(name)
    assert tool is not None
    assert tool.risk.effect == "modify"
    assert "prod" not in tool.risk.approval_in
    assert not approval_required(tool, tool.example.parameters, "prod")


@pytest.mark.parametrize("named", ["smtp.example.org", "{{ item }}"])
def test_a_mail_over_a_server_of_the_plan_needs_approval_in_prod(named: str) -> None:
    tool = registry.load().get("sendmail")
    assert tool is not None
    given = {**tool.example.parameters, "server": named}
    assert approval_required(tool, given, "prod") and not approval_required(tool, given, "dev")


@pytest.mark.parametrize("tool", registry.load().all(), ids=lambda tool: tool.name)
def test_reading_needs_no_approval_and_destroying_in_prod_always_does(tool: Tool) -> None:
    assert approval_environments(tool, "read") == frozenset()
    assert "prod" in approval_environments(tool, "destroy")
    assert ("prod" in approval_environments(tool, "modify")) == (tool.name not in UNATTENDED)


def test_a_parameter_that_raises_the_effect_raises_the_action_class() -> None:
    tool = registry.load().get("docker_ps")
    assert tool is not None
    assert action_class_of(tool, {}) == "read"
    assert action_class_of(tool, {"engine": "unix:///run/other.sock"}) == "modify"


@pytest.mark.parametrize(
    ("risk", "fault"),
    [
        ({"effect": "read"}, "why_read is needed"),
        ({"effect": "modify", "why_read": "It only looks."}, "why_read is needed"),
        (
            {
                "effect": "modify",
                "effect_by": {
                    "parameter": "mode",
                    "effects": {"slow": "destroy"},
                },
            },
            "an operation has a worse effect than the tool",
        ),
    ],
)
def test_a_definition_whose_effects_contradict_is_refused(risk: dict[str, Any], fault: str) -> None:
    with pytest.raises(CatalogueError, match=fault):
        sample(risk={"idempotent": True, "retry_safe": True, **risk})
