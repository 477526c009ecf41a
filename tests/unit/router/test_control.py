"""Control: cancel, approval, pause, rerun; every refusal is an audit event that says why."""

from __future__ import annotations

from typing import Any

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
    assert kinds(events) == ["execution.cancel_requested", "step.cancelled"]
    assert simulation.stops == [{**simulation.stops[0], "step": "a", "reason": "cancelled"}]
    events = simulation.report("cancelled", command, confirmed=True, evidence={"pids": [4, 5]})
    assert kinds(events) == ["step.cancelled", "execution.cancelled"]
    assert events[0]["data"]["evidence"] == {"pids": [4, 5]}
    assert events[1]["data"]["reason"] == "enough"
    again = simulation.control("cancel", execution_id)
    assert kinds(again) == ["audit.decision"]


def test_cancel_before_any_start_ends_at_once_and_kills_a_late_claim() -> None:
    simulation = Simulation()
    simulation.submit(TWO)
    command = simulation.take()
    events = simulation.control("cancel", command["execution_id"])
    assert kinds(events)[-1] == "execution.cancelled"
    assert len(simulation.stops) == 1
    late = simulation.report("started", command)
    assert kinds(late) == ["step.late_result"]
    assert simulation.stops[-1]["reason"] == "superseded"


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


def test_control_of_an_unknown_execution_is_a_dead_letter() -> None:
    simulation = Simulation()
    simulation.control("cancel", "01a0a0a0-0000-8000-8000-000000000000")
    assert simulation.dead[0][2]["runstream-error-class"] == b"unknown_execution"
    simulation.control("dance", "01a0a0a0-0000-8000-8000-000000000000")
    assert simulation.dead[1][2]["runstream-error-class"] == b"invalid"
