"""Plans: order, graphs, conditions, items, references, and how executions end."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.router.simulation import Simulation, kinds
from toolmeta import registry
from toolmeta.bind import target_key, target_names, target_of
from toolmeta.model import Tool


def steps(*given: dict[str, Any], **plan: Any) -> dict[str, Any]:
    return {"plan": {"steps": [{"tool": "noop", **step} for step in given], **plan}}


def test_a_bare_list_of_steps_runs_in_order_and_completes() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}, {"tool": "noop", "inputs": {}}]})
    assert [command["step"] for command in simulation.commands] == ["step_1"]
    simulation.run(simulation.take())
    last = simulation.run(simulation.take())
    assert kinds(last)[-1] == "execution.completed"
    assert last[-1]["data"]["steps"] == {"succeeded": 2}
    assert [event["seq"] for event in simulation.events] == list(
        range(1, len(simulation.events) + 1)
    )
    first = simulation.events[0]["data"]
    assert (first["sla_class"], first["mode"], first["actor"]) == ("fast", "immediate", "anonymous")


def test_five_steps_are_medium_and_queued_in_the_background() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}] * 5})
    assert [kind for kind in kinds(simulation.events) if kind != "audit.decision"] == [
        "execution.accepted",
        "execution.queued",
        "step.dispatched",
    ]


def test_independent_steps_of_a_graph_run_at_the_same_time() -> None:
    simulation = Simulation()
    simulation.submit(
        steps({"id": "a"}, {"id": "b"}, {"id": "c", "depends_on": ["a", "b"]}),
    )
    a, b = simulation.take(), simulation.take()
    assert {a["step"], b["step"]} == {"a", "b"}
    simulation.run(b)
    assert not simulation.commands
    simulation.run(a)
    assert simulation.take()["step"] == "c"


def test_a_reference_keeps_the_type_of_what_it_refers_to() -> None:
    simulation = Simulation()
    simulation.submit(
        {
            "plan": {
                "steps": [
                    {"id": "scan", "tool": "noop"},
                    {
                        "tool": "noop",
                        "parameters": {
                            "value": {
                                "ports": "{{ steps.scan.output.ports }}",
                                "text": "first {{ steps.scan.output.ports[0] }}",
                            }
                        },
                    },
                ]
            }
        }
    )
    simulation.run(simulation.take(), {"ports": [22, 80]})
    assert simulation.take()["parameters"]["value"] == {"ports": [22, 80], "text": "first 22"}


def test_a_reference_to_what_is_not_there_fails_the_step_and_says_so() -> None:
    simulation = Simulation()
    simulation.submit(
        steps({"id": "scan"}, {"parameters": {"value": "{{ steps.scan.output.nothing }}"}})
    )
    last = simulation.run(simulation.take(), {"ports": []})
    failed = next(event for event in last if event["type"] == "step.failed")
    assert failed["data"]["error"]["class"] == "reference"
    assert "nothing" in failed["data"]["error"]["message"]
    assert kinds(last)[-1] == "execution.partial"


def test_a_false_condition_skips_the_step_and_the_plan_goes_on() -> None:
    simulation = Simulation()
    simulation.submit(
        steps({"id": "a"}, {"id": "b", "when": "steps.a.output.percent > 90"}, {"id": "c"})
    )
    simulation.run(simulation.take(), {"percent": 40})
    assert simulation.take()["step"] == "c"
    assert "step.skipped" in kinds(simulation.events)


def test_each_item_is_a_step_of_its_own_and_not_too_many_at_once() -> None:
    simulation = Simulation()
    simulation.submit(
        steps(
            {"id": "list"},
            {
                "id": "each",
                "for_each": "steps.list.output.hosts",
                "max_parallel": 2,
                "parameters": {"value": "{{ item }} {{ index }}"},
            },
            {"id": "after", "parameters": {"value": "{{ steps.each.output.count }}"}},
        )
    )
    simulation.run(simulation.take(), {"hosts": ["x", "y", "z"]})
    assert [command["step"] for command in simulation.commands] == ["each[0]", "each[1]"]
    first, second = simulation.take(), simulation.take()
    assert first["parameters"] == {"value": "x 0"}
    simulation.run(second, {"n": 2})
    simulation.run(first, {"n": 1})
    simulation.run(simulation.take(), {"n": 3})
    after = simulation.take()
    assert after["parameters"] == {"value": 3}
    assert kinds(simulation.run(after))[-1] == "execution.completed"
    each = next(
        e for e in simulation.events if e["type"] == "step.succeeded" and e["step"] == "each"
    )
    assert [item["n"] for item in each["data"]["output"]["items"]] == [1, 2, 3]


def test_an_empty_list_of_items_succeeds_at_once() -> None:
    simulation = Simulation()
    simulation.submit(steps({"id": "each", "for_each": []}, {"id": "after"}))
    assert simulation.take()["step"] == "after"


def test_a_failure_stops_the_plan_and_skips_the_rest() -> None:
    simulation = Simulation()
    simulation.submit(steps({"id": "a"}, {"id": "b"}, {"id": "c"}))
    simulation.run(simulation.take())
    last = simulation.fail(simulation.take())
    assert kinds(last)[-2:] == ["step.skipped", "execution.partial"]
    assert last[-1]["data"]["steps"] == {"succeeded": 1, "failed": 1, "skipped": 1}
    assert "it broke" in last[-1]["data"]["reason"]


def test_a_first_step_that_fails_fails_the_execution() -> None:
    simulation = Simulation()
    simulation.submit(steps({}, {}))
    assert kinds(simulation.fail(simulation.take()))[-1] == "execution.failed"


def test_on_failure_continue_goes_on() -> None:
    simulation = Simulation()
    simulation.submit(steps({"id": "a", "on_failure": "continue"}, {"id": "b"}))
    simulation.fail(simulation.take())
    assert kinds(simulation.run(simulation.take()))[-1] == "execution.partial"


def test_compensation_undoes_the_last_success_first() -> None:
    simulation = Simulation()
    undo = {"tool": "noop", "parameters": {"value": "{{ steps.a.output.id }}"}}
    simulation.submit(
        steps(
            {"id": "a", "compensate": undo},
            {"id": "b", "compensate": {"tool": "noop"}},
            {"id": "c", "on_failure": "compensate"},
        )
    )
    simulation.run(simulation.take(), {"id": 17})
    simulation.run(simulation.take())
    simulation.fail(simulation.take())
    first = simulation.take()
    assert first["step"] == "b.undo"
    simulation.run(first)
    second = simulation.take()
    assert (second["step"], second["parameters"]) == ("a.undo", {"value": 17})
    last = simulation.run(second)
    assert kinds(last)[-2:] == ["step.compensated", "execution.failed"]


def test_a_thousand_steps_are_allowed_and_one_more_is_not() -> None:
    simulation = Simulation()
    simulation.submit(steps(*[{"id": f"s{i}", "depends_on": []} for i in range(1000)]))
    assert len(simulation.commands) == 1000
    events = simulation.submit(steps(*[{} for _ in range(1001)]))
    assert kinds(events) == ["execution.rejected"]
    assert "1000 are allowed" in events[0]["data"]["message"]


@pytest.mark.parametrize("host", ["Web-01", "web-01.", "WEB-01", "{{ steps.a.output.host }}"])
def test_one_host_is_one_target_however_it_is_spelled(host: str) -> None:
    simulation = Simulation()
    simulation.submit({"steps": [
        {"id": "a", "tool": "noop"},
        {"tool": "df", "parameters": {"host": host, "path": "/"}},
    ]})  # fmt: skip
    simulation.run(simulation.take(), {"host": "Web-01"})
    assert simulation.take()["target"] == "web-01"


@pytest.mark.parametrize("tool", registry.load().all(), ids=lambda tool: tool.name)
def test_the_router_and_the_executor_agree_on_the_target(tool: Tool) -> None:
    names, default = target_names(tool)

    def chosen(parameters: dict[str, Any]) -> str | None:
        found = (target_key(parameters.get(name)) for name in names)
        return next((target for target in found if target is not None), default)

    assert chosen({}) == target_of(tool, {})
    for name in names:
        assert chosen({name: "Web-01"}) == target_of(tool, {name: "Web-01"}) == "web-01"
