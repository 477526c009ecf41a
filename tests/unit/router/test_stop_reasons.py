"""Why something was stopped: each reason has an event and a field of its own."""

from __future__ import annotations

from typing import Any

from tests.unit.router.simulation import Simulation, kinds

SLOW: dict[str, Any] = {"id": "a", "tool": "sleep", "parameters": {"seconds": 500}}
NEXT: dict[str, Any] = {"id": "b", "tool": "noop", "depends_on": ["a"]}


def begun(plan: dict[str, Any]) -> tuple[Simulation, dict[str, Any]]:
    simulation = Simulation()
    simulation.submit({"plan": plan})
    command = simulation.take()
    simulation.report("started", command)
    return simulation, command


def failed(error_class: str, **more: Any) -> list[dict[str, Any]]:
    simulation, command = begun({"steps": [SLOW, NEXT]})
    error = {"class": error_class, "message": "It ended.", "transient": False}
    return simulation.report("failed", command, error=error, **more)


def test_somebody_asked_for_it() -> None:
    simulation, command = begun({"steps": [SLOW]})
    asked = simulation.control("cancel", command["execution_id"], reason="enough")[0]["data"]
    assert (asked["ending"], asked["actor"], asked["reason"]) == (
        "cancelled", "operator", "enough"
    )  # fmt: skip
    assert simulation.stops[-1]["reason"] == "cancelled"
    evidence = {"reason": simulation.stops[-1]["reason"]}
    events = simulation.report("cancelled", command, confirmed=True, evidence=evidence)
    assert kinds(events) == ["step.cancelled", "execution.cancelled"]
    assert events[0]["data"]["evidence"]["reason"] == "cancelled"


def test_the_time_of_the_plan_is_over() -> None:
    simulation, command = begun(
        {"timeout_seconds": 20, "steps": [{**SLOW, "timeout_seconds": 600}]}
    )
    for _ in range(3):
        # Its executor renews the lease meanwhile.
        simulation.report("heartbeat", command)
        events = simulation.wait(7)
    asked = next(one for one in events if one["type"] == "execution.cancel_requested")
    assert asked["data"]["ending"] == "timeout"
    assert simulation.stops[-1]["reason"] == "timed_out"
    events = simulation.report(
        "cancelled", command, confirmed=True, evidence={"reason": simulation.stops[-1]["reason"]}
    )
    assert kinds(events) == ["step.cancelled", "execution.timed_out"]
    assert events[0]["data"]["evidence"]["reason"] == "timed_out"


def test_the_time_of_the_step_is_over() -> None:
    event = failed("timed_out", timed_out=True)[0]
    assert event["type"] == "step.timed_out"
    assert event["data"]["error"]["class"] == "timed_out"


def test_the_executor_was_stopped() -> None:
    event = failed("executor_stopped")[0]
    assert (event["type"], event["data"]["error"]["class"]) == ("step.failed", "executor_stopped")


def test_a_limit_was_exceeded() -> None:
    event = failed("limit_exceeded")[0]
    assert (event["type"], event["data"]["error"]["class"]) == ("step.failed", "limit_exceeded")
    assert event["data"]["final"]


def test_another_step_failed() -> None:
    event = next(one for one in failed("exit_status") if one["type"] == "step.skipped")
    assert (event["step"], event["data"]["reason"]) == ("b", "the plan stopped at a failed step")


def test_the_same_request_came_again() -> None:
    simulation = Simulation()
    request = {"idempotency_key": "once", "plan": {"steps": [SLOW]}}
    simulation.submit(request)
    simulation.report("started", simulation.take())
    events = simulation.submit(request)
    assert kinds(events) == ["execution.duplicate"]
    assert events[0]["data"]["idempotency_key"] == "once"
    assert simulation.stops == []


def test_a_cancel_that_nobody_can_confirm_says_why() -> None:
    """Nobody answers for the attempt: its executor is gone, or there is none."""
    plan = {"steps": [{"id": "a", "tool": "argv", "parameters": {"argv": ["true"]}}]}
    simulation, command = begun(plan)
    assert "execution.needs_attention" in kinds(simulation.wait(70))
    events = simulation.control("cancel", command["execution_id"], reason="enough")
    lost = next(one["data"] for one in events if one["type"] == "step.cancelled")
    assert not lost["confirmed"] and lost["reason"] == "enough"
    assert "attempt 1 was lost" in lost["evidence"]["cancel_unconfirmed"]

    simulation = Simulation()
    simulation.submit({"plan": plan})
    execution_id = simulation.take()["execution_id"]
    simulation.control("cancel", execution_id, reason="enough")
    events = simulation.wait(31)
    unclaimed = next(one["data"] for one in events if one["type"] == "step.cancelled")
    assert not unclaimed["confirmed"] and unclaimed["reason"] == "enough"
    assert "no executor answered" in unclaimed["evidence"]["cancel_unconfirmed"]


def test_a_cancel_before_the_claim_keeps_its_reason() -> None:
    simulation = Simulation()
    simulation.submit({"plan": {"steps": [SLOW]}})
    command = simulation.take()
    simulation.control("cancel", command["execution_id"], reason="enough")
    message = "The attempt was cancelled before its claim."
    events = simulation.report("refused", command, reason="cancelled", message=message)
    assert kinds(events) == ["step.cancelled", "execution.cancelled"]
    data = events[0]["data"]
    assert (data["confirmed"], data["reason"]) == (True, "enough")
    assert data["evidence"] == {"started": False, "refused": message}
