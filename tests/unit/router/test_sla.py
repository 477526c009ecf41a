"""That the SLA of an execution is broken is said once, before its end, whatever happens between."""

from __future__ import annotations

from typing import Any

import pytest

from processors.router.sla import breach_due
from tests.unit.router.simulation import START, Simulation, kinds

PLAN = {"steps": [{"tool": "noop"}], "sla_class": "fast", "timeout_seconds": 600}


def submitted(simulation: Simulation, **plan: Any) -> str:
    events = simulation.submit({**PLAN, **plan})
    return str(events[0]["execution_id"])


def test_a_breach_is_said_when_the_deadline_has_passed_and_the_execution_goes_on() -> None:
    simulation = Simulation()
    ident = submitted(simulation)
    accepted = simulation.events[0]["at"]
    command = simulation.take()
    simulation.report("started", command)
    simulation.wait(9.9)
    assert simulation.breaches(ident) == []
    simulation.wait(1)
    (breach,) = simulation.breaches(ident)
    assert breach["data"]["sla_class"] == "fast" and breach["data"]["sla_seconds"] == 10.0
    assert accepted < breach["data"]["deadline"] < breach["at"]
    simulation.wait(1)
    simulation.report("succeeded", command)
    assert kinds(simulation.events)[-1] == "execution.completed"
    assert len(simulation.breaches(ident)) == 1


@pytest.mark.parametrize("restart_at", [5, 15])
def test_a_restart_neither_forgets_a_breach_nor_says_it_again(restart_at: float) -> None:
    simulation = Simulation()
    ident = submitted(simulation)
    command = simulation.take()
    simulation.report("started", command)
    simulation.wait(restart_at)
    simulation.restart()
    simulation.wait(15)
    assert len(simulation.breaches(ident)) == 1
    simulation.restart()
    simulation.report("succeeded", command)
    assert len(simulation.breaches(ident)) == 1


def test_where_no_router_was_there_at_the_deadline_the_breach_comes_before_the_end() -> None:
    simulation = Simulation()
    ident = submitted(simulation)
    command = simulation.take()
    simulation.report("started", command)
    simulation.now += 3_600
    simulation.report("succeeded", command)
    told = [event["type"] for event in simulation.events if event["execution_id"] == ident]
    assert told[-2:] == ["execution.sla_breached", "execution.completed"]


def test_what_ends_in_time_breaches_nothing() -> None:
    simulation = Simulation()
    ident = submitted(simulation)
    simulation.run(simulation.take())
    simulation.wait(3_600)
    assert simulation.breaches(ident) == []


def test_waiting_for_a_person_breaks_the_sla_too() -> None:
    simulation = Simulation()
    ident = submitted(simulation)
    simulation.control("pause", ident)
    simulation.wait(60)
    assert len(simulation.breaches(ident)) == 1
    assert breach_due(simulation.partition.store.living[ident]) is None


def test_an_execution_that_an_earlier_version_accepted_has_no_deadline() -> None:
    simulation = Simulation()
    ident = submitted(simulation)
    command = simulation.take()
    simulation.report("started", command)
    for key, value in simulation.changelog.items():
        simulation.changelog[key] = value.replace(b'"sla_seconds":10.0', b'"x":0').replace(
            b',"x":0', b""
        )
    simulation.restart()
    assert simulation.partition.store.living[ident].sla_seconds == 0
    simulation.wait(300)
    assert simulation.breaches(ident) == []
    assert simulation.now > START
