"""The immediate lane: long work does not get there, by itself or because it asks for it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.router.simulation import Simulation

NOOP = {"tool": "noop", "parameters": {}}


def outcome(plan: dict[str, Any]) -> dict[str, Any]:
    (first, *_) = Simulation().submit({"actor": "ci", "plan": plan})
    data: dict[str, Any] = first["data"]
    return data


def test_a_short_plan_is_immediate() -> None:
    assert outcome({"steps": [NOOP]})["mode"] == "immediate"
    assert outcome({"steps": [NOOP], "mode": "immediate"})["mode"] == "immediate"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"timeout_seconds": 61}, "plan.steps[0].timeout_seconds"),
        ({"tool": "sleep", "parameters": {"seconds": 1}}, "plan.steps[0].timeout_seconds"),
        ({"compensate": {**NOOP, "timeout_seconds": 600}},
         "plan.steps[0].compensate.timeout_seconds"),
        ({"for_each": "steps.a.output.items"}, "plan.steps[0].for_each"),
    ],
)  # fmt: skip
def test_long_steps_are_no_immediate_work(change: dict[str, Any], field: str) -> None:
    first = {**NOOP, "id": "a"}
    step = {**NOOP, **change}
    steps = [first, {**step, "depends_on": ["a"]}] if "for_each" in change else [step]
    asked = outcome({"steps": steps, "mode": "immediate"})
    where = field.replace("[0]", "[1]") if "for_each" in change else field
    assert asked["reason"] == "invalid"
    assert where in [problem["field"] for problem in asked["problems"]]
    assert all("leave mode out" in problem["message"] for problem in asked["problems"])
    assert outcome({"steps": steps})["mode"] == "background"


def test_a_plan_of_many_steps_is_no_immediate_work() -> None:
    asked = outcome({"steps": [NOOP] * 200, "mode": "immediate"})
    assert [problem["field"] for problem in asked["problems"]] == ["plan.mode"]


def test_a_class_that_the_plan_states_does_not_open_the_lane() -> None:
    assert outcome({"steps": [NOOP] * 200, "sla_class": "fast"})["mode"] == "background"
    asked = outcome({"steps": [NOOP] * 200, "mode": "immediate", "sla_class": "fast"})
    assert asked["reason"] == "invalid"
