"""The priority of a plan goes with each command of it."""

from __future__ import annotations

from typing import Any

import pytest

from streams.commands import StepCommand
from tests.unit.router.simulation import Simulation

SLOW = {"tool": "sleep", "parameters": {"seconds": 1}}


@pytest.mark.parametrize(
    "said, priority",
    [({"priority": 3}, 3), ({}, 1), ({"sla_class": "medium"}, 5), ({"sla_class": "long"}, 10)],
)
def test_every_command_says_how_urgent_its_plan_is(said: dict[str, Any], priority: int) -> None:
    simulation = Simulation()
    simulation.submit({"plan": {**said, "steps": [SLOW, {**SLOW, "for_each": [1, 2]}]}})
    first = simulation.take()
    simulation.fail(first, transient=True)
    simulation.wait(5)
    simulation.run(simulation.take())
    got = [first, *simulation.commands]
    assert len(got) == 3
    assert [one["priority"] for one in got] == [priority] * 3
    assert StepCommand.model_validate(first).priority == priority
