"""What follows where an executor refuses a command before its claim."""

from __future__ import annotations

import pytest

from tests.unit.router.simulation import Simulation, kinds


@pytest.mark.parametrize("reason", ["invalid", "environment"])
def test_a_command_that_is_itself_at_fault_is_not_sent_again(reason: str) -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}], "sla_class": "long"})
    command = simulation.take()
    events = simulation.report("refused", command, reason=reason, message="say prod")
    assert kinds(events) == ["step.failed", "execution.failed"]
    assert events[0]["data"]["error"] == {
        "class": reason, "message": "say prod", "transient": False,
    }  # fmt: skip
    simulation.wait(3_600)
    assert not simulation.commands


def test_a_command_that_expired_is_sent_again() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}], "sla_class": "long"})
    events = simulation.report("refused", simulation.take(), reason="expired", message="late")
    assert kinds(events) == ["step.timed_out", "step.retry_scheduled"]
