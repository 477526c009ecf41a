"""What the router counts is what it wrote, by domain, tool and status."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client import REGISTRY

from processors.router.living import Living, add
from processors.router.living_metrics import LivingCollector
from streams.lifecycle import ends_step
from streams.payloads import EVENT_TYPES
from tests.unit.router.simulation import Simulation

FAST_TIMEOUT = 600
FAST = {"sla_class": "fast", "timeout_seconds": FAST_TIMEOUT}


def value(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(name, labels) or 0.0


class Increase:
    """How much a series has grown since this was made, once everything is committed."""

    def __init__(self, simulation: Simulation, name: str, **labels: str) -> None:
        self._simulation, self._name, self._labels = simulation, name, labels
        self._before = value(name, **labels)

    def __call__(self) -> float:
        self._simulation.partition.writer.counts.committed()
        return value(self._name, **self._labels) - self._before


def test_events_are_counted_by_type_when_they_are_committed() -> None:
    simulation = Simulation()
    before = {kind: value("runstream_events_total", type=kind) for kind in _kinds()}
    simulation.submit({"steps": [{"tool": "noop"}], **FAST})
    simulation.run(simulation.take())
    assert {kind: value("runstream_events_total", type=kind) for kind in _kinds()} == before
    simulation.partition.writer.counts.committed()
    counted = {kind: value("runstream_events_total", type=kind) - before[kind] for kind in _kinds()}
    written = Counter(event["type"] for event in simulation.events)
    assert {kind: count for kind, count in counted.items() if count} == written


def test_steps_count_once_by_how_they_ended_and_retries_apart() -> None:
    simulation = Simulation()
    labels = {"domain": "test", "tool": "noop"}
    failed = Increase(simulation, "runstream_steps_ended_total", **labels, status="failed")
    skipped = Increase(simulation, "runstream_steps_ended_total", **labels, status="skipped")
    retries = Increase(simulation, "runstream_step_retries_total", **labels)
    taken = Increase(simulation, "runstream_leases_taken_total", domain="test")
    waited = Increase(simulation, "runstream_step_queue_seconds_sum", domain="test")
    simulation.submit({"steps": [{"tool": "noop"}, {"tool": "noop"}], **FAST})
    first = simulation.take()
    simulation.wait(4)
    simulation.fail(first, transient=True)
    simulation.wait(30)
    simulation.fail(simulation.take(), transient=True)
    assert (failed(), skipped(), retries(), taken()) == (1, 1, 1, 2)
    assert 4 <= waited() < 40
    ends = [event for event in simulation.log if event.step is not None and ends_step(event)]
    assert failed() + skipped() == len(ends)


def test_items_count_and_not_what_they_are_of() -> None:
    simulation = Simulation()
    ended = Increase(
        simulation, "runstream_steps_ended_total", domain="test", tool="noop", status="succeeded"
    )
    simulation.submit({"steps": [{"tool": "noop", "for_each": ["a", "b", "c"]}], **FAST})
    while simulation.commands:
        simulation.run(simulation.take())
    assert ended() == 3


@pytest.mark.parametrize(("late", "result"), [(0, "met"), (20, "breached")])
def test_compliance_counts_every_accepted_execution_that_ended(late: float, result: str) -> None:
    simulation = Simulation()
    found = Increase(simulation, "runstream_sla_executions_total", sla_class="fast", result=result)
    breaches = Increase(simulation, "runstream_sla_breaches_total", sla_class="fast")
    simulation.submit({"steps": [{"tool": "noop"}], **FAST})
    command = simulation.take()
    simulation.now += late
    simulation.run(command)
    assert found() == 1
    assert breaches() == (1 if late else 0)


def test_approvals_are_counted_from_the_request_to_its_end() -> None:
    simulation = Simulation()
    outcomes = {
        name: Increase(simulation, "runstream_approvals_total", outcome=name)
        for name in ("asked", "approved", "rejected", "expired")
    }
    plan = {"steps": [{"tool": "noop"}], "approval_level": 1, "environment": "dev"}
    for number, end in enumerate(("approve", "reject", None)):
        request = {"plan": {**plan, "name": f"plan {number}"}, "actor": "asker"}
        ident = simulation.submit(request)[0]["execution_id"]
        if end is not None:
            simulation.control(end, ident)
    assert living(simulation).approvals == 1
    simulation.wait(8 * 86_400)
    assert {name: one() for name, one in outcomes.items()} == {
        "asked": 3, "approved": 1, "rejected": 1, "expired": 1,
    }  # fmt: skip


def living(simulation: Simulation) -> Living:
    found = Living()
    partition = simulation.partition
    add(found, partition.store.living.values(), frozenset(partition.suspended), simulation.now)
    return found


def test_what_waits_runs_and_is_late_is_shown_until_it_ends() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}], **FAST})
    command = simulation.take()
    begun = simulation.now
    simulation.wait(11)
    found = living(simulation)
    assert (found.queued["test"], found.waiting["test", "no_executor"]) == (1, 1)
    assert begun - 1 < found.oldest_queued["test"] <= begun
    simulation.report("started", command)
    found = living(simulation)
    assert (found.queued["test"], found.leases["test"], found.near_expiry["test"]) == (0, 1, 0)
    assert found.late["fast"] == 1
    lease = next(iter(simulation.partition.store.living.values())).steps["step_1"].lease_until
    simulation.now = lease - 1
    assert living(simulation).near_expiry["test"] == 1
    simulation.report("succeeded", command)
    assert living(simulation) == Living()


def test_an_execution_whose_timers_failed_or_that_outlives_its_limit_is_stuck() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}], **FAST})
    simulation.report("started", simulation.take())
    simulation.partition.suspended.update(simulation.partition.store.living)
    assert living(simulation).stuck == {"timer_failed": 1}
    simulation.now += FAST_TIMEOUT + 200
    assert living(simulation).stuck == {"timer_failed": 1, "overdue": 1}


def test_the_families_are_there_before_anything_lives() -> None:
    simulation = Simulation()
    collector = LivingCollector(lambda: [simulation.partition])
    names = {family.name for family in collector.collect()}
    assert names == {family.name for family in collector.describe()}
    simulation.submit({"steps": [{"tool": "noop"}], **FAST})
    # Who asks again at once gets what was found just now.
    (active,) = [one for one in collector.collect() if one.name == "runstream_executions_active"]
    assert active.samples[0].value == 0


def _kinds() -> list[str]:
    return list(EVENT_TYPES)
