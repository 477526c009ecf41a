"""Every call that can ever run counts: steps, their compensations, and what items repeat."""

from __future__ import annotations

from typing import Any

import pytest

from processors.router.calls import written
from streams.plans import Plan
from tests.unit.router.simulation import Simulation, kinds
from toolmeta import literals, registry, risk
from toolmeta.effects import worst
from toolmeta.model import Tool

CATALOGUE = registry.load()
CHANGING = [
    tool
    for tool in CATALOGUE.all()
    if "prod" in risk.approval_environments(tool, worst(*risk.effects_of(tool)))
    and (tool.risk.effect_by is not None or tool.risk.effect != "read")
]


def accepted(plan: dict[str, Any]) -> dict[str, Any]:
    """The data of the plan's `execution.accepted`."""
    events = Simulation().submit({"actor": "ann", "plan": plan})
    assert events[0]["type"] == "execution.accepted", events[0]["data"]
    data: dict[str, Any] = events[0]["data"]
    return data


def worst_parameters(tool: Tool) -> dict[str, Any]:
    """Valid parameters of the tool whose effect is its worst: its operation is not known yet."""
    rule = tool.risk.effect_by
    if rule is not None:
        return {**literals.as_planned(tool), rule.parameter: "{{ steps.first.output.x }}"}
    if "metadata.connection" in tool.risk.raised_by:
        return {**literals.as_planned(tool), "metadata": {"connection": {"type": "local"}}}
    return literals.as_planned(tool)


@pytest.mark.parametrize("tool", CHANGING, ids=lambda tool: tool.name)
def test_a_compensation_waits_for_approval_as_the_step_itself_would(tool: Tool) -> None:
    simulation = Simulation()
    undo = {"tool": tool.name, "parameters": worst_parameters(tool)}
    events = simulation.submit(
        {
            "actor": "ann",
            "plan": {
                "environment": "prod",
                "steps": [
                    {"id": "first", "tool": "noop"},
                    {"id": "a", "tool": "noop", "on_failure": "compensate", "compensate": undo},
                ],
            },
        }
    )
    assert kinds(events) == ["execution.accepted", "execution.approval_requested"], events
    assert events[0]["data"]["action_class"] == tool.action_class
    assert not simulation.commands


def test_a_compensation_of_items_waits_for_approval_too() -> None:
    step = {
        "tool": "noop",
        "for_each": ["a", "b"],
        "compensate": {"tool": "pkill", "parameters": {"pattern": "nginx"}},
    }
    data = accepted({"environment": "prod", "steps": [step]})
    assert (data["approval_level"], data["action_class"]) == (1, "modify")


def test_time_class_mode_and_timeout_count_what_undoes_a_step_and_what_items_repeat() -> None:
    sleep = {"tool": "noop"}
    alone = accepted({"steps": [sleep]})
    assert (alone["sla_class"], alone["mode"]) == ("fast", "immediate")
    estimate = CATALOGUE.get("noop")
    assert estimate is not None
    many = list(range(int(30 / estimate.estimate_seconds) + 1))
    one_by_one = accepted({"steps": [{**sleep, "for_each": many, "max_parallel": 1}]})
    assert (one_by_one["sla_class"], one_by_one["mode"]) == ("long", "background")
    assert (
        one_by_one["timeout_seconds"]
        >= len(many) * one_by_one["plan"]["steps"][0]["timeout_seconds"]
    )
    at_once = accepted({"steps": [{**sleep, "for_each": many}]})
    assert at_once["sla_class"] == "fast"
    undone = accepted({"steps": [{**sleep, "for_each": many, "compensate": {"tool": "noop"}}]})
    assert undone["sla_class"] == "long"


@pytest.mark.parametrize(
    "operation",
    ["{{ item }}", "sto{{ item }}", ["status"], {"a": "status"}, 1, True, None, "STATUS",
     " status", "\u017ftatus"],
)  # fmt: skip
def test_an_operation_that_is_not_exactly_a_known_one_counts_as_the_worst(operation: Any) -> None:
    tool = CATALOGUE.get("service")
    assert tool is not None
    assert tool.risk.effect_by is not None
    shape = tool.parameters[tool.risk.effect_by.parameter]
    name = tool.risk.effect_by.parameter
    if operation is None and shape.default is not None:
        return
    assert risk.effect_of(tool, {name: operation}) == "modify"


def test_text_in_place_of_a_switch_counts_as_the_worst() -> None:
    tool = CATALOGUE.get("psql")
    assert tool is not None
    assert risk.effect_of(tool, {"write": False}) == "modify"
    assert risk.effect_of(tool, {"write": "false"}) == "destroy"


def test_the_worst_effect_is_that_of_the_definition_and_all_its_operations() -> None:
    tool = CATALOGUE.get("helm")
    assert tool is not None
    assert tool.risk.effect_by is not None
    mild = tool.risk.model_copy(update={"effect": "read"})
    assert risk.effect_of(tool.model_copy(update={"risk": mild}), {"command": "{{ x }}"}) == (
        "destroy"
    )


def test_calls_are_named_by_where_they_stand() -> None:

    plan = Plan.model_validate({"steps": [{"tool": "noop", "compensate": {"tool": "sleep"}}]})
    assert [(call.field, call.step.tool) for call in written(plan)] == [
        ("plan.steps[0]", "noop"),
        ("plan.steps[0].compensate", "sleep"),
    ]
