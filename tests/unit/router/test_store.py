"""What a partition remembers is the same before and after a restart, and small."""

from __future__ import annotations

from typing import Any

import pytest

from processors.router.entries import DedupEntry
from processors.router.store import EXPIRE_BATCH, ChangelogError, Restorer, StateStore
from tests.unit.router.simulation import Simulation, kinds


def test_compensation_after_a_restart_undoes_every_step_of_a_large_execution() -> None:
    simulation = Simulation()
    steps: list[dict[str, Any]] = [
        {"id": f"s{n}", "tool": "noop", "compensate": {"tool": "noop"}} for n in range(31)
    ]
    steps.append({"id": "last", "tool": "noop", "on_failure": "compensate"})
    simulation.submit({"steps": steps})
    for _ in range(31):
        simulation.run(simulation.take(), {"n": 1})
    simulation.fail(simulation.take())
    while simulation.commands:
        simulation.restart()
        simulation.run(simulation.take(), {})
    undone = [e["step"] for e in simulation.events if e["type"] == "step.compensated"]
    assert undone == [f"s{n}" for n in reversed(range(31))]
    assert simulation.events[-1]["data"]["compensations"] == {"succeeded": 31}


@pytest.mark.parametrize("restarts", [False, True])
def test_the_latest_execution_of_a_key_counts(restarts: bool) -> None:
    simulation = Simulation()
    request = {"idempotency_key": "k", "plan": {"steps": [{"tool": "noop"}]}}
    simulation.submit(request)
    simulation.fail(simulation.take())
    simulation.submit(request)
    simulation.run(simulation.take())
    if restarts:
        simulation.restart()
    assert kinds(simulation.submit(request)) == ["execution.duplicate"]


def test_a_clock_that_went_back_does_not_make_an_older_execution_the_latest() -> None:
    simulation = Simulation()
    request = {"idempotency_key": "k", "plan": {"steps": [{"tool": "noop"}]}}
    simulation.submit(request)
    simulation.fail(simulation.take())
    simulation.now -= 3_600
    simulation.submit(request)
    simulation.run(simulation.take())
    simulation.restart()
    assert kinds(simulation.submit(request)) == ["execution.duplicate"]


def test_an_expired_entry_and_a_change_of_it_in_one_batch_are_no_error() -> None:
    simulation = Simulation()
    request = {"idempotency_key": "k", "plan": {"steps": [{"tool": "noop"}]}}
    simulation.submit(request)
    first = simulation.take()
    simulation.fail(first)
    simulation.now += 86_400 + 120
    partition, out = simulation.partition, simulation.out
    partition.tick(simulation.now, out)
    assert kinds(simulation.report("succeeded", first)) == []
    assert kinds(simulation.submit(request))[0] == "execution.accepted"


def test_expiry_takes_few_entries_at_a_time() -> None:
    store = StateStore(10)
    for number in range(EXPIRE_BATCH + 5):
        store.put_entry(DedupEntry(f"e{number}", "t", f"k{number}", "h", "completed", 3, 100.0))
    first, more = store.expire(200.0)
    assert (len(first), more) == (EXPIRE_BATCH, True)
    second, more = store.expire(200.0)
    assert (len(second), more) == (5, False)
    assert store.latest("t", "k1") is None


def test_a_retried_step_in_a_paused_execution_survives_a_restart() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop"}, {"tool": "noop"}]})
    command = simulation.take()
    simulation.report("started", command)
    simulation.control("pause", command["execution_id"])
    simulation.fail(command, transient=True)
    simulation.restart()
    simulation.control("resume", command["execution_id"])
    simulation.wait(5)
    assert simulation.take()["attempt"] == 2


def test_records_of_another_version_stop_the_restore_with_a_sentence() -> None:
    restorer = Restorer(StateStore(10))
    restorer.add(b"01a0a0a0-0000-8000-8000-000000000000", b'{"seq":3,"status":"running"}')
    with pytest.raises(ChangelogError, match="not of this version"):
        restorer.finish()
