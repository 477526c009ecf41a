"""`check`, `until` and `assert`: what must hold, and what a step waits for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from processors.router import deadlines
from runtime.kafka.processor import DecisionError
from tests.unit.router.simulation import Simulation, kinds
from tests.unit.router.test_blocks import noop, statuses, taken


def submitted(*steps: dict[str, Any], **plan: Any) -> Simulation:
    simulation = Simulation()
    simulation.submit({"steps": [*steps], **plan})
    return simulation


def error_of(simulation: Simulation, step: str) -> dict[str, Any]:
    events = [e for e in simulation.events if e["type"] == "step.failed" and e["step"] == step]
    error: dict[str, Any] = events[-1]["data"]["error"]
    return error


def test_a_check_that_holds_changes_nothing() -> None:
    simulation = submitted(noop("a", check="output.percent < 90"), noop("b"))
    simulation.run(simulation.take(), {"percent": 41})
    assert taken(simulation) == ["b"]


def test_a_check_that_does_not_hold_fails_the_step_with_its_message_and_keeps_the_output() -> None:
    check = {"condition": "output.percent < 90", "message": "{{ output.percent }} % are used"}
    simulation = submitted(noop("a", check=check), noop("b"))
    simulation.run(simulation.take(), {"percent": 97})
    assert error_of(simulation, "a") == {
        "class": "check_failed", "message": "97 % are used", "transient": False,
    }  # fmt: skip
    failed = next(e for e in simulation.events if e["type"] == "step.failed")
    assert failed["data"]["output"] == {"percent": 97}
    assert statuses(simulation) == {"a": "failed", "b": "skipped"}


def test_a_check_is_retried_only_where_the_step_says_so() -> None:
    check = {"condition": "output.up", "retry": True}
    simulation = submitted(noop("a", check=check), sla_class="long")
    simulation.run(simulation.take(), {"up": False})
    simulation.wait(5)
    simulation.run(simulation.take(), {"up": True})
    assert simulation.events[-1]["type"] == "execution.completed"


def test_a_check_that_cannot_be_decided_fails_the_step() -> None:
    simulation = submitted(noop("a", check="output.nothing > 1"))
    simulation.run(simulation.take(), {})
    assert error_of(simulation, "a")["class"] == "expression"


def test_until_asks_again_after_its_interval_until_it_is_true() -> None:
    until = {"condition": "output.state == 'up'", "interval_seconds": 30, "limit": 10}
    simulation = submitted(noop("a", until=until), noop("b"))
    for number in range(1, 4):
        command = simulation.take()
        assert command["attempt"] == number
        events = simulation.run(command, {"state": "starting"})
        assert kinds(events)[-1] == "step.polled"
        assert events[-1]["data"]["poll"] == number
        simulation.wait(29)
        assert simulation.commands == []
        simulation.restart()
        simulation.wait(2)
    simulation.run(simulation.take(), {"state": "up"})
    assert taken(simulation) == ["b"]


def test_what_cannot_be_asked_yet_is_asked_again_as_often_as_until_says() -> None:
    """A service that is being started refuses connections: that is no answer, and no failure."""
    until = {"condition": "output.up", "interval_seconds": 30, "limit": 20}
    simulation = submitted(noop("a", until=until), sla_class="fast")
    for number in range(1, 16):
        command = simulation.take()
        assert command["attempt"] == number
        events = simulation.fail(command, transient=True)
        retry = next(event["data"] for event in events if event["type"] == "step.retry_scheduled")
        assert (retry["delay_seconds"], retry["max_attempts"]) == (30, 20)
        simulation.wait(31)
    simulation.run(simulation.take(), {"up": True})
    assert simulation.events[-1]["type"] == "execution.completed"


def test_a_permanent_failure_ends_the_waiting() -> None:
    simulation = submitted(noop("a", until={"condition": "output.up", "interval_seconds": 1}))
    simulation.fail(simulation.take())
    assert simulation.events[-1]["type"] == "execution.failed"


def test_until_ends_with_its_limit_of_attempts_however_they_ended() -> None:
    until = {"condition": "output.up", "interval_seconds": 1, "limit": 3, "message": "never up"}
    simulation = submitted(noop("a", until=until))
    simulation.run(simulation.take(), {"up": False})
    simulation.wait(2)
    simulation.fail(simulation.take(), transient=True)
    simulation.wait(2)
    simulation.run(simulation.take(), {"up": False})
    assert error_of(simulation, "a") == {
        "class": "until_failed", "message": "never up", "transient": False,
    }  # fmt: skip
    assert simulation.commands == []


def test_until_of_items_knows_its_item_and_a_cancel_ends_the_waiting() -> None:
    until = {"condition": "output.host == item", "interval_seconds": 5}
    simulation = submitted(noop("a", for_each=["x", "y"], until=until))
    first, second = simulation.take(), simulation.take()
    simulation.run(first, {"host": "x"})
    simulation.run(second, {"host": "x"})
    found = statuses(simulation)
    assert (found["a[0]"], found["a[1]"]) == ("succeeded", "waiting")
    simulation.control("cancel", first["execution_id"])
    assert simulation.events[-1]["type"] == "execution.cancelled"


@pytest.mark.parametrize("finally_steps", [[], [noop("tell")]])
def test_a_cancel_while_a_poll_runs_ends_it_with_the_answer(finally_steps: list[Any]) -> None:
    """The answer asks for another poll, and there is none any more."""
    until = {"condition": "output.up", "interval_seconds": 5}
    simulation = submitted(noop("a", until=until), noop("b"), **{"finally": finally_steps})
    command = simulation.take()
    simulation.report("started", command)
    simulation.control("cancel", command["execution_id"])
    simulation.report("succeeded", command, output={"up": False})
    assert statuses(simulation)["a"] == "cancelled"
    if finally_steps:
        simulation.run(simulation.take())
    assert simulation.events[-1]["type"] == "execution.cancelled"


def test_a_plan_that_polls_has_the_time_for_it() -> None:
    until = {"condition": "output.up", "interval_seconds": 60, "limit": 100}
    simulation = submitted(noop("a", until=until))
    assert simulation.events[0]["data"]["timeout_seconds"] > 6_000


def test_an_assertion_is_decided_without_an_executor() -> None:
    simulation = submitted(
        noop("a"),
        {"id": "sure", "assert": ["steps.a.output.n > 1", "steps.a.output.n < 5"]},
        noop("b"),
    )
    simulation.run(simulation.take(), {"n": 3})
    assert taken(simulation) == ["b"]
    assert statuses(simulation)["sure"] == "succeeded"


def test_an_assertion_that_does_not_hold_fails_its_step() -> None:
    sure = {
        "id": "sure",
        "assert": "steps.a.output.n > 5",
        "message": "{{ steps.a.output.n }} only",
    }
    simulation = submitted(noop("a"), sure, noop("b"))
    simulation.run(simulation.take(), {"n": 3})
    assert error_of(simulation, "sure") == {
        "class": "assertion_failed", "message": "3 only", "transient": False,
    }  # fmt: skip
    assert statuses(simulation)["b"] == "skipped"


def test_a_plan_of_nothing_but_an_assertion() -> None:
    simulation = submitted({"assert": "plan.environment == 'dev'"})
    assert simulation.events[-1]["type"] == "execution.completed"


@pytest.mark.parametrize(
    ("step", "field", "words"),
    [
        (noop("a", check="output."), "plan.steps[0].check", "CEL"),
        (noop("a", until={"interval_seconds": 1}), "plan.steps[0].until", "required"),
        (noop("a", until={"condition": "true", "limit": 0}), "plan.steps[0].until.limit", "great"),
        (noop("a", check="steps.b.output.x"), "plan.steps[0].check", "there is no step b"),
        (noop("a", message="no"), "plan.steps[0].message", "assertion"),
        ({"assert": "true", "for_each": [1]}, "plan.steps[0].for_each", "all(item"),
        ({"assert": "true", "parameters": {}}, "plan.steps[0].parameters", "steps with a tool"),
        ({"assert": []}, "plan.steps[0].tool", "required"),
    ],
)  # fmt: skip
def test_a_bad_condition_is_rejected(step: dict[str, Any], field: str, words: str) -> None:
    events = Simulation().submit({"steps": [step]})
    assert kinds(events) == ["execution.rejected"]
    problems = events[0]["data"]["problems"]
    assert any(p["field"].startswith(field) and words in p["message"] for p in problems), problems


def test_now_is_one_moment_for_a_whole_decision() -> None:
    parameters = {"value": ["{{ now() }}", "{{ string(now()) }}", "{{ now() + duration('1h') }}"]}
    simulation = submitted(
        noop("a", parameters=parameters, when="now() > timestamp('2020-01-01T00:00:00Z')")
    )
    first, second, later = simulation.take()["parameters"]["value"]
    assert datetime.fromisoformat(first) == datetime.fromisoformat(second)
    assert datetime.fromisoformat(first).timestamp() == pytest.approx(simulation.now)
    assert datetime.fromisoformat(later) - datetime.fromisoformat(first) == timedelta(hours=1)


def test_dates_of_an_output_are_compared_with_now() -> None:
    check = "timestamp(output.not_after) - now() > days(14)"
    simulation = submitted(noop("a", check=check))
    soon = datetime.fromtimestamp(simulation.now, UTC) + timedelta(days=13)
    simulation.run(simulation.take(), {"not_after": soon.isoformat()})
    assert error_of(simulation, "a")["class"] == "check_failed"


def test_a_timer_that_decides_nothing_ends_with_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else it would be due again at once, for ever, and nothing else would have its turn."""
    until = {"condition": "output.up", "interval_seconds": 5}
    simulation = submitted(noop("a", until=until))
    simulation.run(simulation.take(), {"up": False})
    monkeypatch.setattr(deadlines, "retry", lambda _decision, _step: None)
    with pytest.raises(DecisionError) as caught:
        simulation.wait(60)
    assert caught.value.key in simulation.partition.store.living
