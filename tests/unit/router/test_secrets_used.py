"""The use of secrets is an event of the execution, once per report, whatever became of the step."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.router.simulation import Simulation, kinds

USE = {
    "path": "vault/kv/web#password", "parameter": "login", "rule": "web", "destination": "a.b",
    "address": "10.0.0.7",
}  # fmt: skip


def started(**plan: Any) -> tuple[Simulation, dict[str, Any]]:
    simulation = Simulation()
    simulation.submit({"plan": {"steps": [{"tool": "noop", "id": "one"}], **plan}})
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


DENIED = {"path": "env/ROOT", "parameter": "value", "rule": "no-root", "destination": None}
REFUSED = {"class": "secret_denied", "message": "The tenant acme may not use the secret env/ROOT."}


def test_a_use_that_the_executor_refused_is_a_decision() -> None:
    simulation, command = started()
    audit, *after = simulation.report("failed", command, error=REFUSED, denied=DENIED)
    assert (audit["type"], audit["step"], audit["attempt"]) == ("audit.decision", "one", 1)
    assert audit["data"] == {
        "actor": "anonymous", "action": "secret", "allowed": False, "rule": "no-root",
        "resource": "secret/env/ROOT", "message": REFUSED["message"], "key": None, "via": None,
        "claimed_actor": None,
    }  # fmt: skip
    assert kinds(after) == ["step.failed", "execution.failed"]
    simulation.restart()
    assert simulation.report("failed", command, error=REFUSED, denied=DENIED) == []


@pytest.mark.parametrize("ended", [False, True])
def test_a_refusal_by_an_attempt_that_no_longer_counts_is_a_decision_too(ended: bool) -> None:
    simulation, command = started(timeout_seconds=1_000)
    before = kinds(simulation.wait(2_000 if ended else 40))
    assert ("step.lost" in before, "execution.timed_out" in before) == (True, ended)
    audit, late = simulation.report("failed", command, error=REFUSED, denied=DENIED)
    assert kinds([audit, late]) == ["audit.decision", "step.late_result"]
    assert (audit["data"]["action"], audit["data"]["actor"]) == ("secret", "anonymous")
    simulation.restart()
    assert simulation.report("failed", command, error=REFUSED, denied=DENIED) == []
