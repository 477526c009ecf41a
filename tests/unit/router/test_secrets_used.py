"""The use of secrets is an event of the execution, once per report, whatever became of the step."""

from __future__ import annotations

from typing import Any

from tests.unit.router.simulation import Simulation, kinds

USE = {
    "path": "vault/kv/web#password", "parameter": "login", "rule": "web", "destination": "a.b",
    "address": "10.0.0.7",
}  # fmt: skip


def started() -> tuple[Simulation, dict[str, Any]]:
    simulation = Simulation()
    simulation.submit({"plan": {"steps": [{"tool": "noop", "id": "one"}]}})
    command = simulation.take()
    simulation.report("started", command)
    return simulation, command


def test_a_use_is_audited_by_name() -> None:
    simulation, command = started()
    (event,) = simulation.report("secrets_used", command, uses=[USE])
    assert event["type"] == "audit.secret_used"
    assert (event["step"], event["attempt"]) == ("one", 1)
    assert event["data"] == {
        "actor": "anonymous", "claimed_actor": None, "tool": "noop", "executor": "agent-1",
        "uses": [USE],
    }  # fmt: skip
    ended = simulation.report("succeeded", command, output={})
    assert kinds(ended) == ["step.succeeded", "execution.completed"]


def test_a_use_by_an_attempt_that_no_longer_counts_is_audited_too() -> None:
    simulation, command = started()
    simulation.control("cancel", command["execution_id"])
    simulation.report("cancelled", command, confirmed=True)
    events = simulation.report("secrets_used", command, uses=[USE])
    assert kinds(events) in (["audit.secret_used"], [])


def test_a_report_of_no_known_step_says_nothing() -> None:
    simulation, command = started()
    assert simulation.report("secrets_used", {**command, "step": "two"}, uses=[USE]) == []
    assert simulation.report("secrets_used", {**command, "attempt": 7}, uses=[USE]) == []
