"""Time: retries, leases, timeouts, and that a restart changes none of it."""

from __future__ import annotations

from tests.unit.router.simulation import Simulation, kinds


def one(**step: object) -> dict[str, object]:
    return {"plan": {"steps": [{"tool": "noop", **step}]}}


def test_a_transient_failure_is_tried_again_after_a_back_off() -> None:
    simulation = Simulation()
    simulation.submit(one())
    events = simulation.fail(simulation.take(), transient=True)
    assert kinds(events)[-2:] == ["step.failed", "step.retry_scheduled"]
    assert events[-2]["data"]["final"] is False
    delay = events[-1]["data"]["delay_seconds"]
    assert 0.8 <= delay <= 1.2
    simulation.restart()
    assert simulation.wait(delay - 0.1) == []
    simulation.wait(0.2)
    again = simulation.take()
    assert again["attempt"] == 2
    assert kinds(simulation.run(again))[-1] == "execution.completed"


def test_attempts_end_and_the_step_is_parked_with_all_of_them() -> None:
    simulation = Simulation()
    simulation.submit(one())
    simulation.fail(simulation.take(), transient=True)
    simulation.wait(5)
    last = simulation.fail(simulation.take(), transient=True)
    assert kinds(last)[-1] == "execution.failed"
    name, value, headers = simulation.dead[0]
    assert name == "steps.test.immediate.dlq"
    assert headers["runstream-error-class"] == b"retries_exhausted"
    assert value is not None and value.count(b'"attempt":') >= 2


def test_a_plan_may_ask_for_fewer_attempts() -> None:
    simulation = Simulation()
    simulation.submit(one(retry={"max_attempts": 1}))
    assert kinds(simulation.fail(simulation.take(), transient=True))[-1] == "execution.failed"


def test_a_permanent_failure_is_not_tried_again() -> None:
    simulation = Simulation()
    simulation.submit(one())
    assert kinds(simulation.fail(simulation.take()))[-1] == "execution.failed"
    assert simulation.dead == []


def test_a_server_that_asks_for_time_gets_it() -> None:
    simulation = Simulation()
    simulation.submit(one())
    events = simulation.fail(simulation.take(), transient=True, output={"retry_after_seconds": 30})
    assert events[-1]["data"]["delay_seconds"] == 30


def test_a_lost_attempt_of_a_repeatable_tool_is_tried_again_at_once() -> None:
    simulation = Simulation()
    simulation.submit(one(timeout_seconds=100))
    first = simulation.take()
    simulation.report("started", first)
    events = simulation.wait(16)
    assert kinds(events)[:3] == ["step.lost", "step.failed", "step.retry_scheduled"]
    assert simulation.stops[-1]["attempt"] == 1
    assert simulation.take()["attempt"] == 2
    late = simulation.report("succeeded", first, output={"late": True})
    assert kinds(late) == ["step.late_result"]
    assert (late[0]["attempt"], late[0]["data"]["report"]) == (1, "succeeded")
    assert simulation.report("succeeded", first, output={"late": True}) == []


def test_heartbeats_keep_the_lease_and_make_few_events() -> None:
    simulation = Simulation()
    simulation.submit(one(timeout_seconds=100))
    command = simulation.take()
    simulation.report("started", command)
    told = []
    for second in range(30):
        simulation.wait(1)
        told += simulation.report("heartbeat", command, percent=float(second // 10 * 10))
    assert kinds(told) == ["step.progress"] * 3
    assert kinds(simulation.run(command))[-1] == "execution.completed"


def test_a_lost_attempt_that_must_not_be_repeated_needs_attention() -> None:
    simulation = Simulation()
    simulation.submit({"plan": {"steps": [{"tool": "argv", "parameters": {"argv": ["true"]}},
                                          {"tool": "noop"}]}})  # fmt: skip
    command = simulation.take()
    simulation.report("started", command)
    events = simulation.wait(70)
    assert "execution.needs_attention" in kinds(events)
    assert not simulation.commands
    simulation.restart()
    execution_id = command["execution_id"]
    refused = simulation.control("resolve", execution_id, step="step_2", outcome="succeeded")
    assert kinds(refused) == ["audit.decision"]
    assert refused[0]["data"]["allowed"] is False
    events = simulation.control("resolve", execution_id, step="step_1", outcome="succeeded")
    assert "execution.resumed" in kinds(events)
    assert kinds(simulation.run(simulation.take()))[-1] == "execution.completed"


def test_the_time_that_a_person_takes_does_not_count_against_the_timeout() -> None:
    simulation = Simulation()
    simulation.submit({"plan": {"timeout_seconds": 90, "steps": [
        {"tool": "argv", "parameters": {"argv": ["true"]}}, {"tool": "noop"}]}})  # fmt: skip
    command = simulation.take()
    simulation.report("started", command)
    simulation.wait(70)
    simulation.wait(10_000)
    simulation.restart()
    simulation.control("resolve", command["execution_id"], step="step_1", outcome="succeeded")
    assert kinds(simulation.run(simulation.take()))[-1] == "execution.completed"


def test_resolve_as_retry_runs_it_again() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "argv", "parameters": {"argv": ["true"]}}]})
    command = simulation.take()
    simulation.report("started", command)
    simulation.wait(70)
    simulation.control("resolve", command["execution_id"], step="step_1", outcome="retry")
    simulation.wait(1)
    again = simulation.take()
    assert again["attempt"] == 2
    assert kinds(simulation.run(again))[-1] == "execution.completed"


def test_the_execution_timeout_stops_what_runs_and_is_terminal() -> None:
    simulation = Simulation()
    simulation.submit({"plan": {"timeout_seconds": 20, "steps": [{"tool": "sleep", "parameters":
                      {"seconds": 500}, "timeout_seconds": 600}, {"tool": "noop"}]}})  # fmt: skip
    command = simulation.take()
    simulation.report("started", command)
    for _ in range(4):
        simulation.wait(5)
        simulation.report("heartbeat", command)
    simulation.wait(1)
    assert simulation.stops[-1]["reason"] == "timed_out"
    events = simulation.report("cancelled", command, confirmed=True, evidence={"pids": [1]})
    assert kinds(events)[-1] == "execution.timed_out"


def test_a_step_that_nobody_claims_says_why_it_waits() -> None:
    simulation = Simulation()
    simulation.submit(one())
    events = simulation.wait(11)
    assert kinds(events) == ["step.waiting"]
    assert "runstream executor --domain test" in events[0]["data"]["message"]
    assert kinds(simulation.run(simulation.take()))[-1] == "execution.completed"


def test_a_report_is_applied_once() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}] * 2})
    command = simulation.take()
    simulation.run(command)
    before = len(simulation.events)
    for _ in range(10):
        simulation.report("started", command)
        simulation.report("succeeded", command, output={})
    assert len(simulation.events) == before
    simulation.run(simulation.take())
    before = len(simulation.events)
    simulation.report("succeeded", command, output={})
    assert len(simulation.events) == before


def test_a_restart_in_the_middle_changes_nothing() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}] * 5})
    while simulation.commands:
        simulation.restart()
        command = simulation.take()
        simulation.report("started", command)
        simulation.restart()
        simulation.report("succeeded", command, output={"x": 1})
    assert kinds(simulation.events)[-1] == "execution.completed"
    assert [event["seq"] for event in simulation.events] == list(
        range(1, len(simulation.events) + 1)
    )


def test_a_step_that_its_executor_holds_back_says_why_and_its_time_limit_waits() -> None:
    simulation = Simulation()
    step = {"tool": "noop", "timeout_seconds": 20}
    simulation.submit({"plan": {"steps": [step], "timeout_seconds": 900}})
    command = simulation.take()
    simulation.report("started", command)
    held = {"reason": "target_limit", "message": "web-01 is busy"}
    events = simulation.report("waiting", command, **held)
    assert kinds(events) == ["step.waiting"]
    assert (events[0]["attempt"], events[0]["data"]["reason"]) == (1, "target_limit")
    assert simulation.report("waiting", command, **held) == []
    for _ in range(20):  # far longer than its limit and what comes on top of it
        assert simulation.wait(5) == []
        simulation.report("heartbeat", command)
    simulation.restart()
    assert kinds(simulation.report("resumed", command)) == ["step.resumed"]
    late = []
    for _ in range(11):
        late += simulation.wait(5)
        simulation.report("heartbeat", command)
    assert kinds(late)[0] == "step.timed_out"


def test_an_executor_that_falls_silent_while_it_holds_a_step_back_loses_it() -> None:
    simulation = Simulation()
    simulation.submit(one(timeout_seconds=20))
    command = simulation.take()
    simulation.report("started", command)
    simulation.report("waiting", command, reason="rate_limit", message="2 a second")
    assert kinds(simulation.wait(16))[0] == "step.lost"
