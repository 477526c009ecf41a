"""The effect of a call: by its operation, and never less than a parameter that raises it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.toolmeta.samples import sample
from toolmeta import registry
from toolmeta.definitions import CatalogueError
from toolmeta.effects import worst
from toolmeta.model import Tool
from toolmeta.risk import action_class_of, effect_of


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
        ({"effect": "destroy"}, "needs an approval in prod"),
        (
            {"effect": "read", "why_read": "It only looks.", "raised_by": {"path": "destroy"}},
            "needs an approval in prod",
        ),
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
