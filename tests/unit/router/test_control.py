"""Control: cancel, approval, pause, rerun; every refusal is an audit event that says why."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from streams import topics
from tests.unit.router.simulation import Simulation, kinds

TWO: dict[str, Any] = {"steps": [{"id": "a", "tool": "noop"}, {"id": "b", "tool": "noop"}]}


def started(simulation: Simulation, request: dict[str, Any] = TWO) -> tuple[str, dict[str, Any]]:
    simulation.submit(request)
    command = simulation.take()
    simulation.report("started", command)
    return command["execution_id"], command


def test_cancel_ends_what_runs_first() -> None:
    simulation = Simulation()
    execution_id, command = started(simulation)
    events = simulation.control("cancel", execution_id, reason="enough")
    assert kinds(events) == [
        "execution.cancel_requested", "step.cancel_requested", "step.cancelled"
    ]  # fmt: skip
    assert simulation.stops == [{**simulation.stops[0], "step": "a", "reason": "cancelled"}]
    events = simulation.report("cancelled", command, confirmed=True, evidence={"pids": [4, 5]})
    assert kinds(events) == ["step.cancelled", "execution.cancelled"]
    assert events[0]["data"]["evidence"] == {"pids": [4, 5]}
    assert events[1]["data"]["reason"] == "enough"
    again = simulation.control("cancel", execution_id)
    assert kinds(again) == ["audit.decision"]


def cancelled_before_its_claim(simulation: Simulation) -> dict[str, Any]:
    simulation.submit({"steps": [{"tool": "noop"}]})
    command = simulation.take()
    events = simulation.control("cancel", command["execution_id"])
    assert kinds(events) == ["execution.cancel_requested", "step.cancel_requested"]
    assert simulation.stops[-1]["reason"] == "cancelled"
    simulation.restart()
    return command


def test_a_cancel_before_the_claim_is_confirmed_by_the_executor_that_refuses_it() -> None:
    simulation = Simulation()
    command = cancelled_before_its_claim(simulation)
    events = simulation.report("refused", command, reason="cancelled", message="not started")
    assert kinds(events) == ["step.cancelled", "execution.cancelled"]
    assert (events[0]["data"]["confirmed"], events[0]["data"]["report"]) == (True, "refused")


def test_a_cancel_that_loses_to_the_claim_waits_for_the_end_of_the_attempt() -> None:
    simulation = Simulation()
    command = cancelled_before_its_claim(simulation)
    assert kinds(simulation.report("started", command)) == ["execution.started", "step.started"]
    assert len(simulation.stops) == 2
    events = simulation.report("succeeded", command, output={"effect": "done"})
    assert kinds(events) == ["step.succeeded", "execution.cancelled"]


def test_a_cancel_that_nobody_answers_is_not_confirmed_and_the_truth_is_kept() -> None:
    simulation = Simulation()
    command = cancelled_before_its_claim(simulation)
    events = simulation.wait(31)
    assert kinds(events) == ["step.cancelled", "execution.cancelled"]
    assert events[0]["data"]["confirmed"] is False
    late = simulation.report(
        "cancelled", command, confirmed=False, evidence={"effect": "possible", "pids_ended": [7]}
    )
    assert kinds(late) == ["step.late_result"]
    assert late[0]["data"]["evidence"] == {"effect": "possible", "pids_ended": [7]}
    assert late[0]["data"]["confirmed"] is False


@pytest.mark.parametrize("ended", ["completed", "failed"])
def test_replayed_reports_after_the_end_are_recorded_once(ended: str) -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop", "timeout_seconds": 100}]})
    first = simulation.take()
    simulation.report("started", first)
    simulation.wait(16)
    second = simulation.take()
    simulation.run(second) if ended == "completed" else simulation.fail(second)
    found = []
    for _ in range(3):
        for command in (first, second):
            for kind in ("started", "succeeded", "heartbeat"):
                found += simulation.report(kind, command)
        simulation.restart()
    # A success of the second attempt is news where it is known to have failed.
    news = [(event["attempt"], event["data"]["report"]) for event in found]
    assert news == [(1, "succeeded")] + ([] if ended == "completed" else [(2, "succeeded")])


def test_cancel_that_races_the_result_never_gives_both() -> None:
    simulation = Simulation()
    execution_id, command = started(simulation, {"steps": [{"tool": "noop"}]})
    simulation.control("cancel", execution_id)
    events = simulation.report("succeeded", command, output={})
    assert kinds(events) == ["step.succeeded", "execution.cancelled"]


def test_cancel_of_an_executor_that_is_gone_is_unconfirmed() -> None:
    simulation = Simulation()
    execution_id, _ = started(simulation)
    simulation.control("cancel", execution_id)
    events = simulation.wait(120)
    assert kinds(events) == ["step.cancelled", "execution.cancelled"]
    assert events[0]["data"]["confirmed"] is False


def test_approval_is_by_somebody_else_and_bound_to_the_plan() -> None:
    simulation = Simulation()
    request = {"actor": "ann", "plan": {**TWO, "approval_level": 1}}
    events = simulation.submit(request)
    assert kinds(events) == ["execution.accepted", "execution.approval_requested"]
    execution_id = events[0]["execution_id"]
    own = simulation.control("approve", execution_id, actor="ann")
    assert own[0]["data"]["allowed"] is False
    other = simulation.control("approve", execution_id, actor="bob", plan_hash="0" * 64)
    assert other[0]["data"]["allowed"] is False
    simulation.restart()
    good = simulation.control(
        "approve", execution_id, actor="bob", plan_hash=events[0]["data"]["plan_hash"]
    )
    assert kinds(good) == ["execution.approved", "step.dispatched"]


def test_approval_expires() -> None:
    simulation = Simulation()
    simulation.submit({"plan": {**TWO, "approval_level": 1}})
    simulation.restart()
    events = simulation.wait(301)
    assert kinds(events) == ["execution.rejected"]
    assert events[0]["data"]["reason"] == "approval_expired"


def test_reject_ends_it() -> None:
    simulation = Simulation()
    events = simulation.submit({"plan": {**TWO, "approval_level": 2}})
    ended = simulation.control("reject", events[0]["execution_id"], reason="no")
    assert kinds(ended) == ["execution.rejected"]
    assert not simulation.commands


def test_pause_lets_what_runs_end_and_dispatches_nothing() -> None:
    simulation = Simulation()
    execution_id, command = started(simulation)
    simulation.control("pause", execution_id)
    simulation.report("succeeded", command, output={})
    assert not simulation.commands
    simulation.wait(1_000)
    simulation.restart()
    events = simulation.control("resume", execution_id)
    assert kinds(events) == ["execution.resumed", "step.dispatched"]
    assert kinds(simulation.run(simulation.take()))[-1] == "execution.completed"


def test_pause_before_the_first_claim() -> None:
    simulation = Simulation()
    simulation.submit(TWO)
    command = simulation.take()
    simulation.control("pause", command["execution_id"])
    simulation.run(command)
    events = simulation.control("resume", command["execution_id"])
    assert kinds(events) == ["execution.resumed", "execution.started", "step.dispatched"]


def test_rerun_keeps_what_succeeded() -> None:
    simulation = Simulation()
    simulation.submit({"idempotency_key": "k", "plan": {"steps": [
        {"id": "a", "tool": "noop"},
        {"id": "b", "tool": "noop", "parameters": {"value": "{{ steps.a.output.x }}"}},
    ]}})  # fmt: skip
    simulation.run(simulation.take(), {"x": 42})
    simulation.fail(simulation.take())
    old = simulation.events[0]["execution_id"]
    simulation.restart()
    events = simulation.control("rerun", old)
    assert kinds(events)[0] == "execution.accepted"
    assert events[0]["data"]["rerun_of"] == old
    assert events[0]["execution_id"][-8:] == old[-8:]
    command = simulation.take()
    assert (command["step"], command["attempt"]) == ("b", 1)
    assert command["parameters"] == {"value": 42}
    assert kinds(simulation.run(command))[-1] == "execution.completed"


def test_rerun_from_a_step_runs_everything_after_it() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"id": n, "tool": "noop"} for n in "abc"]})
    simulation.run(simulation.take())
    simulation.run(simulation.take())
    simulation.fail(simulation.take())
    simulation.control("rerun", simulation.events[0]["execution_id"], from_step="b")
    assert simulation.take()["step"] == "b"


def test_a_completed_execution_is_not_rerun() -> None:
    simulation = Simulation()
    simulation.submit(TWO)
    simulation.run(simulation.take())
    simulation.run(simulation.take())
    events = simulation.control("rerun", simulation.events[0]["execution_id"])
    assert kinds(events) == ["audit.decision"]
    assert events[0]["data"]["allowed"] is False


def test_a_command_without_the_route_key_is_a_dead_letter_that_names_it() -> None:
    simulation = Simulation()
    execution_id, _ = started(simulation)
    raw = orjson.dumps({"type": "pause", "execution_id": execution_id})
    for key in (None, b"", execution_id.encode()):
        assert simulation.produce(topics.CONTROL, raw, key) == []
        assert simulation.dead[-1][2]["runstream-error-class"] == b"no_route_key"
        assert execution_id[-8:].encode() in simulation.dead[-1][2]["runstream-error-message"]
    assert kinds(simulation.control("pause", execution_id)) == ["execution.paused"]


def test_control_of_an_unknown_execution_is_a_dead_letter() -> None:
    simulation = Simulation()
    simulation.control("cancel", "01a0a0a0-0000-8000-8000-000000000000")
    assert simulation.dead[0][2]["runstream-error-class"] == b"unknown_execution"
    simulation.control("dance", "01a0a0a0-0000-8000-8000-000000000000")
    assert simulation.dead[1][2]["runstream-error-class"] == b"invalid"
