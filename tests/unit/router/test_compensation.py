"""Compensation undoes what was changed, and the end says what could not be undone."""

from __future__ import annotations

from typing import Any

from tests.unit.router.simulation import Simulation, kinds

UNDO = {"tool": "noop"}


def run_and_fail(steps: list[dict[str, Any]], outputs: list[Any]) -> Simulation:
    simulation = Simulation()
    last = {"id": "last", "tool": "noop", "on_failure": "compensate"}
    simulation.submit({"steps": [*steps, last]})
    for output in outputs:
        simulation.run(simulation.take(), output)
    simulation.fail(simulation.take())
    return simulation


def undo_all(simulation: Simulation) -> None:
    while simulation.commands:
        simulation.run(simulation.take(), {})


def of(simulation: Simulation, kind: str) -> list[str]:
    return [event["step"] for event in simulation.events if event["type"] == kind]


def test_what_a_step_did_not_change_is_not_undone() -> None:
    steps = [{"id": name, "tool": "noop", "compensate": UNDO} for name in ("a", "b", "c")]
    simulation = run_and_fail(steps, [{"created": False}, {"changed": False}, {"created": True}])
    undo_all(simulation)
    assert of(simulation, "step.compensated") == ["c"]
    assert of(simulation, "step.compensation_skipped") == ["b", "a"]


def test_the_condition_of_a_compensation_decides_and_sees_the_output() -> None:
    steps = [
        {"id": "a", "tool": "noop", "compensate": {**UNDO, "when": "output.created"}},
        {"id": "b", "tool": "noop", "compensate": {**UNDO, "when": "steps.b.output.n > 1"}},
        {"id": "c", "tool": "noop", "compensate": {**UNDO, "when": "true"}},
    ]
    simulation = run_and_fail(steps, [{"created": False}, {"n": 2}, {"changed": False}])
    undo_all(simulation)
    assert of(simulation, "step.compensated") == ["c", "b"]


def test_a_condition_that_cannot_be_decided_fails_the_compensation() -> None:
    steps = [{"id": "a", "tool": "noop", "compensate": {**UNDO, "when": "output.nothing > 1"}}]
    simulation = run_and_fail(steps, [{}])
    end = simulation.events[-1]["data"]
    assert end["compensations"] == {"failed": 1}
    assert "not undone: a" in end["reason"]


def test_failed_compensations_are_in_the_reason_and_the_counts() -> None:
    steps = [{"id": name, "tool": "noop", "compensate": UNDO} for name in ("a", "b")]
    simulation = run_and_fail(steps, [{}, {}])
    simulation.fail(simulation.take())
    undo_all(simulation)
    end = simulation.events[-1]
    assert end["type"] == "execution.partial"
    assert end["data"]["compensations"] == {"failed": 1, "succeeded": 1}
    assert end["data"]["reason"] == "step last: it broke; not undone: b"


def test_a_for_each_step_is_compensated_when_its_items_are() -> None:
    steps = [{"id": "each", "tool": "noop", "for_each": [1, 2, 3], "compensate": UNDO}]
    simulation = run_and_fail(steps, [{"created": True}, {"created": False}, {"created": True}])
    undo_all(simulation)
    assert of(simulation, "step.compensated") == ["each[2]", "each[0]", "each"]
    end = simulation.events[-1]
    assert (end["type"], end["data"]["steps"]) == (
        "execution.failed", {"compensated": 1, "failed": 1}
    )  # fmt: skip


def test_an_undo_sees_the_output_and_the_item_of_what_it_undoes() -> None:
    undo = {"tool": "noop", "parameters": {"value": "{{ item }}/{{ output.id }}"}}
    steps = [{"id": "each", "tool": "noop", "for_each": ["x", "y"], "compensate": undo}]
    simulation = run_and_fail(steps, [{"id": 7}, {"id": 8}])
    assert simulation.take()["parameters"] == {"value": "y/8"}
    assert kinds(simulation.events)[-2:] == ["step.compensation_scheduled", "step.dispatched"]
