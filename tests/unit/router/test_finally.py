"""`finally`: what runs whatever happened, and knows what did."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.router.simulation import Simulation, kinds
from tests.unit.router.test_blocks import finish, noop, statuses, taken

TELL = noop(
    "tell",
    parameters={
        "value": {
            "status": "{{ execution.status }}",
            "why": "{{ execution.reason }}",
            "failed": "{{ execution.failed_steps.map(f, f.step) }}",
        }
    },
)


def submitted(*steps: dict[str, Any], **plan: Any) -> Simulation:
    simulation = Simulation()
    simulation.submit({"steps": [*steps], "finally": [TELL], **plan})
    return simulation


def told(simulation: Simulation) -> Any:
    assert taken(simulation) == ["tell"]
    return simulation.commands[0]["parameters"]["value"]


def test_it_runs_after_a_success() -> None:
    simulation = submitted(noop("a"))
    assert taken(simulation) == ["a"]
    simulation.run(simulation.take())
    assert told(simulation) == {"status": "completed", "why": "", "failed": []}
    simulation.run(simulation.take())
    end = simulation.events[-1]
    assert (end["type"], end["data"]["steps"]) == ("execution.completed", {"succeeded": 2})


def test_it_knows_what_failed_and_the_end_stays_a_failure() -> None:
    simulation = submitted(noop("a"), noop("b"))
    simulation.fail(simulation.take())
    assert told(simulation) == {
        "status": "failed", "why": "step a: it broke", "failed": ["a"],
    }  # fmt: skip
    simulation.restart()
    simulation.run(simulation.take())
    assert simulation.events[-1]["type"] == "execution.failed"
    assert statuses(simulation) == {"a": "failed", "b": "skipped", "tell": "succeeded"}


def test_it_runs_after_the_compensations() -> None:
    simulation = submitted(
        noop("a", compensate={"tool": "noop"}), noop("b", on_failure="compensate")
    )
    simulation.run(simulation.take())
    simulation.fail(simulation.take())
    assert taken(simulation) == ["a.undo"]
    simulation.run(simulation.take())
    assert told(simulation)["status"] == "failed"


def test_it_runs_after_a_cancel_and_a_second_cancel_ends_it() -> None:
    simulation = submitted(noop("a"))
    first = simulation.take()
    simulation.report("started", first)
    simulation.control("cancel", first["execution_id"], reason="enough")
    assert simulation.commands == []
    simulation.report("cancelled", first, confirmed=True)
    assert told(simulation) == {"status": "cancelled", "why": "enough", "failed": []}
    command = simulation.take()
    simulation.report("started", command)
    simulation.control("cancel", first["execution_id"])
    assert simulation.stops[-1]["step"] == "tell"
    simulation.report("cancelled", command, confirmed=True)
    assert simulation.events[-1]["type"] == "execution.cancelled"


def test_it_runs_when_time_is_over_and_has_a_limit_of_its_own() -> None:
    simulation = submitted(noop("a"), timeout_seconds=10)
    first = simulation.take()
    simulation.report("started", first)
    simulation.wait(11)
    simulation.report("cancelled", first, confirmed=True)
    assert told(simulation)["status"] == "timeout"
    simulation.report("started", simulation.take())
    simulation.wait(600)
    assert simulation.events[-1]["type"] == "execution.timed_out"
    assert statuses(simulation)["tell"] == "cancelled"


def test_its_steps_do_not_wait_for_each_other_nor_stop_each_other() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [noop("a")], "finally": [noop("x"), noop("y"), noop("z",
        depends_on=["x"])]})  # fmt: skip
    simulation.run(simulation.take())
    assert taken(simulation) == ["x", "y"]
    simulation.fail(simulation.take())
    assert finish(simulation) == ["y", "z"]
    end = simulation.events[-1]
    assert (end["type"], end["data"]["reason"]) == ("execution.partial", "step x: it broke")


def test_it_does_not_run_where_nothing_was_approved() -> None:
    simulation = submitted(noop("a"), approval_level=1)
    execution_id = simulation.events[0]["execution_id"]
    simulation.control("cancel", execution_id)
    assert simulation.commands == []
    assert simulation.events[-1]["type"] == "execution.cancelled"
    assert statuses(simulation) == {"a": "cancelled", "tell": "skipped"}


def test_it_waits_while_the_execution_is_paused_and_is_repeated_by_a_rerun() -> None:
    simulation = submitted(noop("a"), noop("b"))
    first = simulation.take()
    simulation.run(first)
    second = simulation.take()
    simulation.control("pause", first["execution_id"])
    simulation.fail(second)
    assert simulation.commands == []
    simulation.control("resume", first["execution_id"])
    simulation.run(simulation.take())
    assert simulation.events[-1]["type"] == "execution.partial"
    simulation.control("rerun", first["execution_id"])
    assert finish(simulation) == ["b", "tell"]
    assert simulation.events[-1]["type"] == "execution.completed"


def test_blocks_and_lists_may_stand_in_it() -> None:
    simulation = Simulation()
    each = {"id": "each", "for_each": ["a", "b"], "steps": [noop("mail"), noop("chat")]}
    simulation.submit({"steps": [noop("a")], "finally": [each]})
    simulation.fail(simulation.take())
    ran = finish(simulation)
    assert sorted(ran) == sorted(f"each[{n}].{name}" for n in (0, 1) for name in ("mail", "chat"))


@pytest.mark.parametrize(
    ("plan", "field", "words"),
    [
        ({"steps": [noop("a")], "finally": [noop("a")]}, "plan.finally[0].id", "unique"),
        ({"steps": [noop("a", when="steps.t.output.x")], "finally": [noop("t")]},
         "plan.steps[0].when", "does not come before"),
        ({"steps": [noop("a")], "finally": [noop("t", depends_on=["a"])]},
         "plan.finally[0].depends_on", "not beside it"),
        ({"steps": [noop("a")], "finally": [noop("t", compensate={"tool": "noop"})]},
         "plan.finally[0].compensate", "nothing is undone"),
    ],
)  # fmt: skip
def test_a_bad_finally_is_rejected(plan: dict[str, Any], field: str, words: str) -> None:
    events = Simulation().submit(plan)
    assert kinds(events) == ["execution.rejected"]
    problems = events[0]["data"]["problems"]
    assert any(p["field"] == field and words in p["message"] for p in problems), problems
