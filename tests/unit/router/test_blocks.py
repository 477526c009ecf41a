"""Blocks: steps within a step, for each item in order, with an end of their own."""

from __future__ import annotations

from typing import Any

import pytest

from streams.lifecycle import step_status
from streams.payloads import Accepted, Expanded
from tests.unit.router.simulation import Simulation, kinds

Plan = dict[str, Any]


def noop(name: str, **fields: Any) -> Plan:
    return {"id": name, "tool": "noop", **fields}


def rolling(**fields: Any) -> Plan:
    """Drain, restart and check one host after the other."""
    return {
        "id": "roll",
        "for_each": ["web-01", "web-02", "web-03"],
        "max_parallel": 1,
        "steps": [
            noop("drain", parameters={"value": "{{ item }}"}, compensate={"tool": "noop"}),
            noop("restart", parameters={"value": "{{ steps.drain.output.value }}"}),
            noop("healthy", on_failure="compensate"),
        ],
        **fields,
    }


def taken(simulation: Simulation) -> list[str]:
    return [command["step"] for command in simulation.commands]


def value(command: dict[str, Any]) -> Any:
    return command["parameters"]["value"]


def statuses(simulation: Simulation) -> dict[str, str]:
    """Of every step of the only execution, as a reader of the log sees them."""
    found: dict[str, str] = {}
    for event in simulation.log:
        if isinstance(event.data, Accepted):
            found |= dict.fromkeys((spec.id for spec in event.data.plan.roots), "pending")
        elif isinstance(event.data, Expanded):
            found |= dict.fromkeys(event.data.steps, "pending")
        if event.step is not None:
            found[event.step] = step_status(found.get(event.step, "pending"), event)
    return found


def finish(simulation: Simulation) -> list[str]:
    """Run everything that is dispatched; the steps in their order."""
    ran = []
    while simulation.commands:
        command = simulation.take()
        ran.append(command["step"])
        simulation.run(command, {"value": f"of {command['step']}"})
    return ran


def test_a_block_runs_its_steps_for_one_item_after_the_other() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [rolling(), noop("after")]})
    ran = finish(simulation)
    inner = ["drain", "restart", "healthy"]
    assert ran == [f"roll[{n}].{name}" for n in range(3) for name in inner] + ["after"]
    assert simulation.events[-1]["type"] == "execution.completed"
    assert simulation.events[-1]["data"]["steps"] == {"succeeded": 2}


def test_references_mean_the_steps_of_the_same_item() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [rolling(max_parallel=2)]})
    first, second = simulation.take(), simulation.take()
    assert (value(first), value(second)) == ("web-01", "web-02")
    simulation.run(second, {"value": "second"})
    simulation.run(first, {"value": "first"})
    assert [(c["step"], value(c)) for c in simulation.commands] == [
        ("roll[1].restart", "second"),
        ("roll[0].restart", "first"),
    ]


def test_the_output_of_a_block_has_that_of_its_steps() -> None:
    simulation = Simulation()
    after = noop("after", parameters={"value": "{{ steps.roll.output.items[1].drain.value }}"})
    simulation.submit({"steps": [rolling(), after]})
    for _ in range(9):
        command = simulation.take()
        simulation.run(command, {"value": command["step"]})
    assert value(simulation.take()) == "roll[1].drain"


def test_a_failed_item_is_compensated_by_itself_and_no_other_begins() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [rolling(), noop("after")]})
    for _ in range(5):
        simulation.run(simulation.take(), {"value": 1})
    simulation.fail(simulation.take())
    # What the second host did is undone; the first one is not touched, the third one never begins.
    assert taken(simulation) == ["roll[1].drain.undo"]
    simulation.run(simulation.take(), {})
    assert simulation.commands == []
    assert statuses(simulation) == {
        "roll": "failed", "after": "skipped",
        "roll[0]": "succeeded", "roll[1]": "failed", "roll[2]": "skipped",
        "roll[0].drain": "succeeded", "roll[0].restart": "succeeded",
        "roll[0].healthy": "succeeded",
        "roll[1].drain": "compensated", "roll[1].restart": "succeeded",
        "roll[1].healthy": "failed", "roll[1].drain.undo": "succeeded",
    }  # fmt: skip
    end = simulation.events[-1]
    assert end["type"] == "execution.failed"
    assert end["data"]["reason"] == "step roll[1].healthy: it broke"


def test_what_runs_beside_a_failed_item_goes_on_to_its_end() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [rolling(max_parallel=2)]})
    first, second = simulation.take(), simulation.take()
    simulation.fail(first)
    simulation.run(second, {"value": 1})
    ran = finish(simulation)
    assert ran == ["roll[1].restart", "roll[1].healthy"]
    found = statuses(simulation)
    assert (found["roll[1]"], found["roll[2]"], found["roll"]) == ("succeeded", "skipped", "failed")


@pytest.mark.parametrize("limit", [1, "34%", "66%"])
def test_as_many_items_may_fail_as_the_plan_says(limit: int | str) -> None:
    simulation = Simulation()
    items = noop("each", for_each=[1, 2, 3], max_parallel=1, max_failures=limit)
    simulation.submit({"steps": [items, noop("after")]})
    simulation.fail(simulation.take())
    assert finish(simulation) == ["each[1]", "each[2]", "after"]
    end = simulation.events[-1]
    assert (end["type"], end["data"]["steps"]) == ("execution.completed", {"succeeded": 2})


def test_the_output_says_which_items_failed_and_why() -> None:
    simulation = Simulation()
    items = noop("each", for_each=["a", "b"], max_failures=1)
    after = noop("after", parameters={"value": "{{ steps.each.output.failures }}"})
    simulation.submit({"steps": [items, after]})
    simulation.run(simulation.take())
    simulation.fail(simulation.take())
    assert value(simulation.take()) == [
        {"step": "each[1]", "error_class": "exit_status", "message": "it broke", "item": "b"}
    ]


@pytest.mark.parametrize("limit", [1, "34%"])
def test_one_more_stops_the_rest(limit: int | str) -> None:
    simulation = Simulation()
    each = noop("each", for_each=[1, 2, 3], max_parallel=1, max_failures=limit)
    simulation.submit({"steps": [each, noop("after")]})
    simulation.fail(simulation.take())
    simulation.restart()
    simulation.fail(simulation.take())
    assert simulation.commands == []
    found = statuses(simulation)
    assert (found["each"], found["each[2]"], found["after"]) == ("failed", "skipped", "skipped")


def test_a_block_without_items_and_blocks_within_blocks() -> None:
    simulation = Simulation()
    inner = {"id": "inner", "for_each": "items.outer", "steps": [
        noop("leaf", parameters={"value": "{{ string(item) + items.outer[0] }}"}),
    ]}  # fmt: skip
    outer = {"id": "outer", "for_each": [["a", "b"], ["c"]], "max_parallel": 1, "steps": [inner]}
    wrapped = {"id": "whole", "steps": [noop("begin"), outer]}
    simulation.submit({"steps": [wrapped, noop("after")]})
    seen: dict[str, Any] = {}
    while simulation.commands:
        command = simulation.take()
        seen[command["step"]] = command["parameters"].get("value")
        simulation.run(command, {})
        simulation.restart()
    assert seen == {
        "whole.begin": None,
        "whole.outer[0].inner[0].leaf": "aa", "whole.outer[0].inner[1].leaf": "ba",
        "whole.outer[1].inner[0].leaf": "cc", "after": None,
    }  # fmt: skip
    assert simulation.events[-1]["type"] == "execution.completed"


def test_conditions_and_order_within_a_block() -> None:
    simulation = Simulation()
    block = {"id": "block", "steps": [
        noop("a", depends_on=[]), noop("b", depends_on=[]),
        noop("c", depends_on=["a", "b"], when="steps.a.output.go"),
    ]}  # fmt: skip
    simulation.submit({"steps": [block]})
    assert sorted(taken(simulation)) == ["block.a", "block.b"]
    for command in (simulation.take(), simulation.take()):
        simulation.run(command, {"go": False})
    assert statuses(simulation)["block.c"] == "skipped"
    assert simulation.events[-1]["type"] == "execution.completed"


def test_a_failure_that_may_be_does_not_fail_its_block() -> None:
    simulation = Simulation()
    block = {"id": "block", "steps": [noop("a", on_failure="continue"), noop("b")]}
    simulation.submit({"steps": [block]})
    simulation.fail(simulation.take())
    assert finish(simulation) == ["block.b"]
    assert simulation.events[-1]["type"] == "execution.completed"


def test_a_cancel_ends_a_block_with_everything_in_it() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [rolling(max_parallel=2)]})
    first, second = simulation.take(), simulation.take()
    simulation.run(first, {"value": 1})
    simulation.report("started", second)
    simulation.control("cancel", first["execution_id"])
    simulation.report("cancelled", second, confirmed=True)
    simulation.report("cancelled", simulation.take(), confirmed=True)
    simulation.wait(60)
    found = statuses(simulation)
    assert {found[name] for name in ("roll", "roll[0]", "roll[1]", "roll[2]")} == {"cancelled"}
    assert simulation.events[-1]["type"] == "execution.cancelled"


def test_a_failure_after_a_block_undoes_what_its_items_did() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [rolling(), noop("after", on_failure="compensate")]})
    for _ in range(9):
        simulation.run(simulation.take(), {"value": 1})
    simulation.fail(simulation.take())
    assert finish(simulation) == [f"roll[{n}].drain.undo" for n in (2, 1, 0)]
    found = statuses(simulation)
    assert found["roll"] == found["roll[0]"] == "compensated"
    end = simulation.events[-1]["data"]
    assert (end["steps"], end["compensations"]) == (
        {"compensated": 1, "failed": 1}, {"succeeded": 3},
    )  # fmt: skip


def test_an_empty_list_and_a_skipped_block_have_no_steps() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [rolling(for_each=[]), rolling(id="no", when="false") | {
        "steps": [noop("other")]}]})  # fmt: skip
    assert simulation.commands == []
    assert statuses(simulation) == {"roll": "succeeded", "no": "skipped"}


def test_items_of_blocks_are_bounded_with_their_steps() -> None:
    simulation = Simulation()
    steps = [noop(f"s{n}") for n in range(10)]
    simulation.submit({"steps": [{"id": "big", "for_each": list(range(300)), "steps": steps}]})
    failed = next(event for event in simulation.events if event["type"] == "step.failed")
    assert failed["data"]["error"]["class"] == "too_large"
    assert "300 items of 11 steps" in failed["data"]["error"]["message"]
    assert simulation.commands == []


def nested(depth: int) -> Plan:
    block = noop("leaf")
    for level in range(depth):
        block = {"id": f"level{level}", "steps": [block]}
    return block


@pytest.mark.parametrize(
    ("steps", "field", "words"),
    [
        ([{"id": "a", "steps": [noop("b", depends_on=["a"])]}],
         "plan.steps[0].steps[0].depends_on", "the block that it is in"),
        ([{"id": "a", "steps": [noop("b", depends_on=["c"]), noop("c", depends_on=["b"])]}],
         "plan.steps[0].steps", "wait for each other: b -> c -> b"),
        ([{"id": "a", "steps": [noop("b")]}, noop("c", depends_on=["b"])],
         "plan.steps[1].depends_on", "b is not beside it"),
        ([{"id": "a", "steps": [noop("b")]}, noop("c", when="steps.b.output.x")],
         "plan.steps[1].when", "b does not come before c"),
        ([{"id": "a", "steps": [noop("b", when="steps.a.output.x")]}],
         "plan.steps[0].steps[0].when", "a does not come before b"),
        ([{"id": "a", "steps": [noop("a")]}], "plan.steps[0].steps[0].id", "unique"),
        ([{"id": "a", "steps": []}], "plan.steps[0].steps", "at least 1"),
        ([{"id": "a", "tool": "noop", "steps": [noop("b")]}], "plan.steps[0].steps", "either"),
        ([{"id": "a"}], "plan.steps[0].tool", "required"),
        ([{"id": "a", "steps": [noop("b")], "timeout_seconds": 3}],
         "plan.steps[0].timeout_seconds", "give it to the steps with a tool"),
        ([noop("a", max_failures=1)], "plan.steps[0].max_failures", "for_each"),
        ([noop("a", for_each=[1], max_failures="120%")], "plan.steps[0].max_failures", ""),
        ([{"id": "a", "steps": [noop("b", tool="noop_")]}], "plan.steps[0].steps[0].tool",
         "did you mean"),
        ([nested(5)], "plan.steps[0].steps[0].steps[0].steps[0].steps[0]", "nest at most 4"),
        ([{"id": "a", "steps": [noop("undo")]}], "plan.steps[0].steps[0].id", "another id"),
        ([{"id": f"b{n}", "steps": [noop(f"b{n}s{m}") for m in range(40)]} for n in range(30)],
         "plan.steps", "1000 are allowed"),
    ],
)  # fmt: skip
def test_a_bad_block_is_rejected_with_one_sentence(
    steps: list[Plan], field: str, words: str
) -> None:
    simulation = Simulation()
    events = simulation.submit({"steps": steps})
    assert kinds(events) == ["execution.rejected"]
    problems = events[0]["data"]["problems"]
    assert any(p["field"].startswith(field) and words in p["message"] for p in problems), problems
    assert simulation.commands == []


def test_what_stands_in_a_block_needs_approval_and_rights_as_anywhere() -> None:
    simulation = Simulation()
    destroys = {
        "id": "gone",
        "tool": "mysql",
        "parameters": {"host": "db", "query": "DROP TABLE a"},
    }
    events = simulation.submit({"environment": "prod", "steps": [{"id": "a", "steps": [destroys]}]})
    assert "execution.approval_requested" in kinds(events)
