"""Approval: by as many different people as the level says, none of whom asked for the plan."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.router.simulation import Simulation, kinds

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
