"""The effect of a call: by its operation, and never less than a parameter that raises it."""

from __future__ import annotations

from toolmeta import registry
from toolmeta.effects import worst
from toolmeta.model import Tool
from toolmeta.risk import effect_of


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
