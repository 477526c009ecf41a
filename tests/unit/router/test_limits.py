"""Whatever a plan, an output or a list grows to: its step fails, and no record is too large.

The simulation itself refuses an event or a changelog record beyond the budget.
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streams.limits import MAX_OUTPUT_BYTES, MAX_RECORD_BYTES
from tests.unit.router.simulation import Simulation, kinds

BIG = {"text": "x" * (MAX_OUTPUT_BYTES - 100)}


def failure(simulation: Simulation) -> dict[str, Any]:
    failed = [event for event in simulation.events if event["type"] == "step.failed"]
    error: dict[str, Any] = failed[-1]["data"]["error"]
    return error


def test_too_many_large_items_fail_their_step() -> None:
    simulation = Simulation()
    items = '{{ steps.list.output.items.map(i, {"name": i, "pad": steps.list.output.pad}) }}'
    simulation.submit({"steps": [
        {"id": "list", "tool": "noop"},
        {"id": "each", "tool": "noop", "for_each": items},
    ]})  # fmt: skip
    output = {"items": list(range(300)), "pad": "x" * 16_384}
    events = simulation.run(simulation.take(), output)
    assert kinds(events)[-1] == "execution.partial"
    assert failure(simulation)["class"] in ("too_large", "expression", "expression_limit")


def test_items_of_a_list_have_a_budget() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [
        {"id": "a", "tool": "noop"}, {"id": "b", "tool": "noop"}, {"id": "c", "tool": "noop"},
        {"id": "each", "tool": "noop",
         "for_each": ["{{ steps.a.output }}", "{{ steps.b.output }}", "{{ steps.c.output }}"]},
    ]})  # fmt: skip
    for _ in "abc":
        simulation.run(simulation.take(), BIG)
    error = failure(simulation)
    assert error["class"] == "too_large"
    assert "refer to a part of the output" in error["message"]


def test_twenty_references_to_a_large_output_fail_the_step() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [
        {"id": "a", "tool": "noop"},
        {"id": "b", "tool": "noop", "parameters": {"value": ["{{ steps.a.output }}"] * 20}},
    ]})  # fmt: skip
    simulation.run(simulation.take(), BIG)
    error = failure(simulation)
    assert error["class"] == "too_large"
    assert "refer to a part" in error["message"]


def test_twenty_steps_with_large_outputs_complete_and_are_restored() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"} for _ in range(20)]})
    for _ in range(20):
        simulation.run(simulation.take(), BIG)
        simulation.restart()
    assert simulation.events[-1]["type"] == "execution.completed"


def test_the_output_of_all_items_keeps_what_fits_and_says_so() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [
        {"id": "each", "tool": "noop", "for_each": [1, 2, 3, 4]},
        {"id": "kept", "tool": "noop", "depends_on": ["each"],
         "parameters": {"value": "{{ steps.each.output.items[1].n }}"}},
        {"id": "cut", "tool": "noop", "depends_on": ["kept"],
         "parameters": {"value": "{{ steps.each.output.items[3].n }}"}},
    ]})  # fmt: skip
    for number in range(4):
        simulation.run(simulation.take(), {"n": number, "text": "x" * 100_000})
    output = next(
        event["data"]["output"] for event in simulation.events
        if event["type"] == "step.succeeded" and event["step"] == "each"
    )  # fmt: skip
    assert (output["count"], output["succeeded"], output["failed"]) == (4, 4, 0)
    assert (len(output["items"]), output["truncated"]) == (2, True)
    assert len(orjson.dumps(output)) <= MAX_OUTPUT_BYTES
    command = simulation.take()
    assert command["parameters"] == {"value": 1}
    simulation.run(command)
    assert failure(simulation)["class"] == "reference"
    assert "the output was cut" in failure(simulation)["message"]


def test_a_rerun_that_would_carry_too_much_is_refused() -> None:
    simulation = Simulation()
    steps = [{"id": f"s{n}", "tool": "noop"} for n in range(6)]
    simulation.submit({"steps": steps})
    for _ in range(5):
        simulation.run(simulation.take(), BIG)
    simulation.fail(simulation.take())
    execution_id = simulation.events[0]["execution_id"]
    refused = simulation.control("rerun", execution_id)
    assert kinds(refused) == ["audit.decision"]
    assert refused[0]["data"]["allowed"] is False
    assert str(MAX_RECORD_BYTES) in refused[0]["data"]["message"]
    again = simulation.control("rerun", execution_id, from_step="s1")
    assert kinds(again)[:1] == ["execution.accepted"]


@pytest.mark.parametrize(
    "parameters", [{"k" * 300_000: 1}, {"value": "x" * 300_000}, {"x": {"k" * 300_000: 2**80}}]
)
def test_a_rejection_is_small_whatever_it_is_about(parameters: dict[str, Any]) -> None:
    simulation = Simulation()
    raw = orjson.dumps({"steps": [{"tool": "df", "parameters": {}}] * 25})
    body = orjson.loads(raw)
    for step in body["steps"]:
        step["parameters"] = {"nonsense": 1}
    body["steps"][0]["parameters"] = {
        key: value if isinstance(value, int | str) else 1 for key, value in parameters.items()
    }
    events = simulation.submit(body)
    assert kinds(events) == ["execution.rejected"]
    assert len(orjson.dumps(events)) < 20_000


@pytest.mark.parametrize(
    "fields",
    [
        {"output": {"n": 2**70}},
        {"output": {"deep": [{"n": -(2**64)}]}},
        {"duration_seconds": 1e300},
        {"attempt": 2**40},
        {"output": {"text": "x" * 600_000}},
    ],
)
def test_a_report_that_cannot_be_written_down_is_a_dead_letter(fields: dict[str, Any]) -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}]})
    command = simulation.take()
    simulation.report("started", command)
    import json  # the standard encoder writes any integer

    base = {"type": "succeeded", "execution_id": command["execution_id"], "step": command["step"],
            "attempt": 1, "executor": "agent-1", "duration_seconds": 0.5}  # fmt: skip
    raw = json.dumps({**base, **fields}).encode()
    from streams import topics

    assert simulation.produce(topics.REPORTS, raw) == []
    assert simulation.dead[-1][1] == raw
    assert kinds(simulation.report("succeeded", command))[-1] == "execution.completed"
