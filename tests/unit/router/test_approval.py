"""Approval: by as many different people as the level says, none of whom asked for the plan."""

from __future__ import annotations

from typing import Any

import pytest

from processors.executors.approved import approval_check
from streams.commands import StepCommand
from tests.unit.router.simulation import Simulation, kinds
from toolmeta.model import Tool
from toolmeta.registry import Registry

STEP: dict[str, Any] = {"steps": [{"id": "a", "tool": "noop"}]}


def waiting(level: int = 1, actor: str = "Mallory") -> tuple[Simulation, str]:
    """A simulation with one execution that waits for approval, and its id."""
    simulation = Simulation()
    events = simulation.submit({"actor": actor, "plan": {**STEP, "approval_level": level}})
    assert kinds(events) == ["execution.accepted", "execution.approval_requested"]
    return simulation, events[0]["execution_id"]


def refused(events: list[dict[str, Any]], words: str) -> bool:
    """Whether the only event refuses a command with these words."""
    (event,) = events
    data = event["data"]
    return event["type"] == "audit.decision" and not data["allowed"] and words in data["message"]


@pytest.mark.parametrize("actor", ["Mallory", "mallory", "MALLORY"])
def test_the_requester_does_not_approve_under_another_spelling(actor: str) -> None:
    simulation, execution_id = waiting()
    assert refused(simulation.control("approve", execution_id, actor=actor), "asked for")
    assert not simulation.commands


@pytest.mark.parametrize("actor", ["mallory ", "\u041callory", "mallory\u200b", ""])
def test_an_approval_by_a_look_alike_is_a_dead_letter(actor: str) -> None:
    simulation, execution_id = waiting()
    assert simulation.control("approve", execution_id, actor=actor) == []
    assert simulation.dead[-1][2]["runstream-error-class"] == b"invalid"
    assert not simulation.commands


def test_an_approval_is_signed() -> None:
    simulation, execution_id = waiting()
    assert refused(simulation.control("approve", execution_id, actor="anonymous"), "signed")


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_level_needs_as_many_different_people(level: int) -> None:
    simulation, execution_id = waiting(level)
    for number in range(1, level):
        events = simulation.control("approve", execution_id, actor=f"person-{number}")
        assert kinds(events) == ["execution.approval_given"]
        given = events[0]["data"]
        assert (given["actor"], given["given"], given["level"]) == (
            f"person-{number}",
            number,
            level,
        )
        again = simulation.control("approve", execution_id, actor=f"Person-{number}")
        assert refused(again, "approved it already")
        simulation.restart()
        assert not simulation.commands
    last = simulation.control("approve", execution_id, actor=f"person-{level}", reason="fine")
    assert kinds(last) == ["execution.approved", "step.dispatched"]
    assert refused(simulation.control("approve", execution_id, actor="dan"), "does not wait")


def run_again(events: list[dict[str, Any]]) -> dict[str, Any]:
    """The acceptance of the execution that a rerun begins; it waits for approval."""
    (accepted,) = [event for event in events if event["type"] == "execution.accepted"]
    own = [event for event in events if event["execution_id"] == accepted["execution_id"]]
    assert kinds(own)[-1] == "execution.approval_requested"
    return accepted


def test_whoever_asked_for_an_earlier_run_does_not_approve_a_rerun() -> None:
    simulation, first = waiting(actor="author")
    execution_id = first
    for rerunner in ("second", "third", "AUTHOR"):
        simulation.control("approve", execution_id, actor="bob")
        simulation.fail(simulation.take())
        simulation.restart()
        events = simulation.control("rerun", execution_id, actor=rerunner)
        accepted = run_again(events)
        execution_id = accepted["execution_id"]
        simulation.restart()
    assert accepted["data"]["actor"] == "AUTHOR"
    assert accepted["data"]["earlier_actors"] == ["author", "second", "third"]
    for actor in ("author", "Second", "third"):
        own = simulation.control("approve", accepted["execution_id"], actor=actor)
        assert refused(own, "asked for"), actor
    good = simulation.control("approve", accepted["execution_id"], actor="bob")
    assert kinds(good) == ["execution.approved", "step.dispatched"]


def test_an_earlier_approval_does_not_count_for_a_rerun() -> None:
    simulation, execution_id = waiting(2)
    simulation.control("approve", execution_id, actor="bob")
    simulation.control("approve", execution_id, actor="carol")
    simulation.fail(simulation.take())
    again = run_again(simulation.control("rerun", execution_id, actor="dan"))["execution_id"]
    assert kinds(simulation.control("approve", again, actor="bob")) == ["execution.approval_given"]


def test_an_approval_after_its_time_counts_for_nothing() -> None:
    simulation, execution_id = waiting()
    # The record is read before the timer of the same moment runs.
    simulation.now += 10_000
    assert refused(simulation.control("approve", execution_id, actor="bob"), "ended at")
    events = simulation.wait(1)
    assert kinds(events) == ["execution.rejected"]
    assert events[0]["data"]["reason"] == "approval_expired"
    assert not simulation.commands


def test_an_approval_of_another_plan_counts_for_nothing() -> None:
    simulation, execution_id = waiting(2)
    wrong = simulation.control("approve", execution_id, actor="bob", plan_hash="0" * 64)
    assert refused(wrong, "another hash")
    good = simulation.control("approve", execution_id, actor="bob")
    assert good[-1]["data"]["given"] == 1


def test_one_of_those_who_approved_may_still_reject() -> None:
    simulation, execution_id = waiting(2)
    simulation.control("approve", execution_id, actor="bob")
    events = simulation.control("reject", execution_id, actor="bob", reason="second thoughts")
    assert kinds(events) == ["execution.rejected"]


def in_prod(*steps: dict[str, Any], **plan: Any) -> tuple[Simulation, str]:
    """A simulation with one execution in prod that waits for approval, and its id."""
    simulation = Simulation()
    events = simulation.submit(
        {"actor": "mallory", "plan": {"environment": "prod", "steps": list(steps), **plan}}
    )
    assert kinds(events)[-1] == "execution.approval_requested", events
    return simulation, events[0]["execution_id"]


def carried(simulation: Simulation, command: dict[str, Any]) -> dict[str, Any]:
    """The approval in a command, which an executor takes."""
    known = simulation.partition.store.living.get(command["execution_id"])
    assert known is not None
    assert command["plan_hash"] == known.plan_hash
    assert approval_check(simulation.tools)(StepCommand.model_validate(command)) is None
    approval: dict[str, Any] = command["approval"]
    return approval


def test_every_command_of_an_approved_plan_carries_the_approval() -> None:
    change = {"tool": "change"}
    simulation, execution_id = in_prod(
        {**change, "id": "each", "for_each": [1, 2], "compensate": change},
        {**change, "id": "last", "retry": {"max_attempts": 1}, "on_failure": "compensate"},
        approval_level=2,
    )
    simulation.control("approve", execution_id, actor="bob")
    simulation.restart()
    simulation.control("approve", execution_id, actor="carol")
    simulation.restart()
    seen = []
    while simulation.commands:
        command = simulation.take()
        seen.append(command["step"])
        approval = carried(simulation, command)
        assert (approval["level"], approval["by"]) == (2, ["bob", "carol"])
        if command["step"] == "last":
            simulation.fail(command)
        else:
            simulation.run(command)
    assert seen == ["each[0]", "each[1]", "last", "each[1].undo", "each[0].undo"]


def test_a_command_of_a_plan_that_needed_no_approval_carries_none() -> None:
    simulation = Simulation()
    simulation.submit({"plan": STEP})
    assert {"approval", "plan_hash"}.isdisjoint(simulation.take())


def test_a_command_that_an_executor_did_not_find_approved_is_not_sent_again() -> None:
    simulation, execution_id = in_prod({"tool": "change", "id": "a"})
    simulation.control("approve", execution_id, actor="bob")
    command = simulation.take()
    events = simulation.report("refused", command, reason="not_approved", message="it is not")
    assert kinds(events) == ["step.failed", "execution.failed"]
    assert events[0]["data"]["error"]["class"] == "not_approved"
    assert events[0]["data"]["final"]
    assert not simulation.commands


def redefined(simulation: Simulation, name: str, **changed: Any) -> None:
    """Restart the router with a catalogue in which this tool is another one."""
    tools = [
        Tool.model_validate({**tool.model_dump(by_alias=True), **changed})
        if tool.name == name
        else tool
        for tool in simulation.tools.all()
    ]
    simulation.tools = Registry(tools)
    simulation.restart()


def test_an_approval_is_of_the_tools_as_they_were_defined() -> None:
    simulation, execution_id = in_prod(
        {"tool": "noop", "compensate": {"tool": "change"}}, {"tool": "sleep"}
    )
    simulation.restart()
    redefined(simulation, "df", timeout_seconds=77.0)  # The plan does not call it.
    before = simulation.tools
    redefined(simulation, "change", timeout_seconds=77.0)
    refusal = simulation.control("approve", execution_id, actor="bob")
    assert refused(refusal, "the definition of change has changed"), refusal
    assert not simulation.commands
    simulation.tools = Registry(tool for tool in before.all() if tool.name != "sleep")
    simulation.restart()
    assert refused(simulation.control("approve", execution_id, actor="bob"), "definition of sleep")
    simulation.tools = before
    simulation.restart()
    approved = simulation.control("approve", execution_id, actor="bob")
    assert kinds(approved)[0] == "execution.approved"
    assert len(simulation.commands) == 1


def test_an_executor_with_another_definition_than_was_approved_refuses_the_command() -> None:
    simulation, execution_id = in_prod({"tool": "change"})
    simulation.control("approve", execution_id, actor="bob")
    command = StepCommand.model_validate(simulation.take())
    assert approval_check(simulation.tools)(command) is None
    redefined(simulation, "change", description="It does something else than what was approved.")
    told = approval_check(simulation.tools)(command)
    assert told is not None and "definition of change" in told


def test_a_rerun_waits_for_what_the_catalogue_says_now() -> None:
    simulation = Simulation()
    plan = {"environment": "staging", "steps": [{"tool": "change", "id": "a"}]}
    execution_id = simulation.submit({"actor": "author", "plan": plan})[0]["execution_id"]
    simulation.fail(simulation.take())
    change = simulation.tools.get("change")
    assert change is not None
    stricter = {**change.risk.model_dump(), "approval_in": frozenset({"staging"})}
    redefined(simulation, "change", risk=stricter)
    again = run_again(simulation.control("rerun", execution_id, actor="author"))["execution_id"]
    assert not simulation.commands
    simulation.control("approve", again, actor="bob")
    assert carried(simulation, simulation.take())["by"] == ["bob"]


def restart_of(unit: str, key: str) -> dict[str, Any]:
    """A request to restart a unit in prod, under an idempotency key."""
    parameters = {"host": "web-01", "action": "restart", "unit": unit}
    plan = {"environment": "prod", "steps": [{"tool": "systemctl", "parameters": parameters}]}
    return {"actor": "mallory", "idempotency_key": key, "plan": plan}


@pytest.mark.parametrize("end", ["waits", "runs", "completed", "failed", "cancelled"])
@pytest.mark.parametrize("key", ["the same", "another"])
def test_a_changed_parameter_needs_an_approval_of_its_own(end: str, key: str) -> None:
    simulation = Simulation()
    first = simulation.submit(restart_of("nginx", "the same"))[0]
    approved_hash = first["data"]["plan_hash"]
    if end != "waits":
        simulation.control("approve", first["execution_id"], actor="bob")
        command = simulation.take()
        assert command["parameters"]["unit"] == "nginx"
        if end == "completed":
            simulation.run(command)
        elif end == "failed":
            simulation.fail(command)
        elif end == "cancelled":
            simulation.control("cancel", first["execution_id"])
            simulation.report("refused", command, reason="cancelled", message="before its claim")
    simulation.restart()
    events = simulation.submit(restart_of("sshd", key))
    if key == "the same" and end not in ("failed", "cancelled"):
        # Only what has failed or was cancelled leaves its key to another plan.
        assert kinds(events) == ["execution.rejected"]
        assert events[0]["data"]["reason"] == "conflict"
        assert not simulation.commands
        return
    assert kinds(events) == ["execution.accepted", "execution.approval_requested"]
    second = events[0]["execution_id"]
    assert events[0]["data"]["plan_hash"] != approved_hash
    assert not simulation.commands
    # Neither the approval of the first nor the hash that it named counts for the second.
    old = simulation.control("approve", second, actor="bob", plan_hash=approved_hash)
    assert refused(old, "another hash")
    assert not simulation.commands
    simulation.control("approve", second, actor="bob")
    if end == "runs":
        simulation.run(command)  # Until then it has the lock of web-01.
    command = simulation.take()
    assert (command["execution_id"], command["parameters"]["unit"]) == (second, "sshd")
    assert carried(simulation, command)["by"] == ["bob"]
