"""Locks as plans meet them: who waits, with which reason, for how long, and what it costs."""

from __future__ import annotations

import orjson
import pytest

from processors.router.policy import LOCK_LEASE_SECONDS, LOCK_WAIT_SECONDS
from streams import topics
from tests.unit.router.lock_plans import change, of, submit
from tests.unit.router.simulation import Simulation, kinds


def test_the_second_plan_waits_until_the_first_has_ended() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"))
    two = submit(simulation, "two", change("WEB-01.:22"))
    (first,) = simulation.commands
    assert first["execution_id"] == one
    (waiting,) = of(simulation, two, "step.waiting")
    assert waiting["data"]["reason"] == "lock"
    assert waiting["data"]["message"] == f"web-01 is locked by {one}"
    simulation.run(simulation.take())
    assert kinds(of(simulation, one))[-2:] == ["lock.released", "execution.completed"]
    (second,) = simulation.commands
    assert second["execution_id"] == two
    assert second["fencing_tokens"]["web-01"] > first["fencing_tokens"]["web-01"]
    simulation.run(simulation.take())
    assert kinds(of(simulation, two))[-1] == "execution.completed"


def test_a_step_waits_with_a_reason_for_another_asset_of_its_plan() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("db-01"))
    two = submit(simulation, "two", change("web-01"), change("db-01"))
    (waiting,) = of(simulation, two, "step.waiting")
    assert waiting["step"] == "step_1"
    assert waiting["data"]["message"] == f"db-01 is locked by {one}"


def test_the_token_is_in_the_event_and_in_every_command_of_the_execution() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"), change("web-01", "db-01"))
    (acquired,) = of(simulation, one, "lock.acquired")
    tokens = acquired["data"]["tokens"]
    assert tokens.keys() == {"web-01", "db-01"}
    first = simulation.take()
    assert first["fencing_tokens"] == {"web-01": tokens["web-01"]}
    simulation.run(first)
    assert simulation.take()["fencing_tokens"] == tokens
    (dispatched, _) = of(simulation, one, "step.dispatched")
    assert dispatched["data"]["fencing_tokens"] == {"web-01": tokens["web-01"]}


def test_a_plan_that_only_reads_writes_no_record_about_locks() -> None:
    simulation = Simulation()
    simulation.slow_locks = True
    submit(simulation, "one", {"tool": "noop", "parameters": {"host": "web-01"}}, change())
    assert simulation.lock_records == []
    simulation.run(simulation.take())
    simulation.run(simulation.take())
    assert simulation.lock_records == []
    assert simulation.hosted.keeper.next_deadline() is None


def test_a_plan_of_several_changes_asks_once_and_releases_once() -> None:
    simulation = Simulation()
    simulation.slow_locks = True
    submit(simulation, "one", *(change("web-01", f"db-{n}") for n in range(5)))
    asked = [simulation.lock_records[0]]
    simulation.slow_locks = False
    simulation.produce(topics.CONTROL, b"", b"")
    for _ in range(5):
        simulation.slow_locks = True
        simulation.run(simulation.take())
        asked += simulation.lock_records
        simulation.lock_records.clear()
    types = [orjson.loads(raw)["type"] for _, _, raw in asked]
    assert types == ["acquire", "release"]


def test_a_lock_is_held_through_retries_pause_and_attention() -> None:
    simulation = Simulation()
    step = change("web-01", id="change")
    one = submit(simulation, "one", {**step, "retry": {"max_attempts": 3}}, timeout_seconds=3_600)
    two = submit(simulation, "two", change("web-01"))
    command = simulation.take()
    simulation.report("started", command)
    simulation.control("pause", one)
    simulation.wait(600)
    assert simulation.commands == []
    simulation.control("resume", one)
    # It was lost meanwhile, and argv is not safe to repeat.
    assert of(simulation, one, "step.needs_attention")
    simulation.wait(600)
    assert simulation.commands == []
    simulation.control("resolve", one, step="change", outcome="succeeded")
    assert kinds(of(simulation, one))[-1] == "execution.completed"
    assert of(simulation, two, "step.dispatched")


def test_a_lock_is_held_until_the_compensation_has_ended() -> None:
    simulation = Simulation()
    undo = {"tool": "argv", "parameters": {"argv": ["false"]}}
    steps = [change("web-01", compensate=undo), change("db-01", on_failure="compensate")]
    submit(simulation, "one", *steps)
    two = submit(simulation, "two", change("web-01"))
    simulation.run(simulation.take())
    simulation.fail(simulation.take())
    command = simulation.take()
    assert command["step"] == "step_1.undo"
    assert command["fencing_tokens"].keys() == {"web-01"}
    assert not of(simulation, two, "step.dispatched")
    simulation.run(command)
    assert of(simulation, two, "step.dispatched")


def test_cancelling_what_waits_withdraws_its_request() -> None:
    simulation = Simulation()
    submit(simulation, "one", change("web-01"))
    two = submit(simulation, "two", change("web-01"))
    three = submit(simulation, "three", change("web-01"))
    simulation.control("cancel", two)
    assert kinds(of(simulation, two))[-1] == "execution.cancelled"
    simulation.run(simulation.take())
    assert not of(simulation, two, "lock.acquired")
    assert of(simulation, three, "step.dispatched")


def test_a_step_fails_that_waits_longer_than_an_hour() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"), timeout_seconds=80_000)
    two = submit(simulation, "two", change("web-01"))
    simulation.report("started", simulation.take())
    simulation.control("pause", one)
    simulation.wait(LOCK_WAIT_SECONDS - 5)
    assert not of(simulation, two, "step.failed")
    simulation.wait(10)
    (failed,) = of(simulation, two, "step.failed")
    assert failed["data"]["error"]["class"] == "lock_timeout"
    assert kinds(of(simulation, two))[-1] == "execution.failed"


def test_neither_the_steps_limit_nor_that_of_the_plan_runs_while_it_waits_to_begin() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"), timeout_seconds=80_000)
    two = submit(simulation, "two", change("web-01", timeout_seconds=5), timeout_seconds=10)
    simulation.control("pause", one)
    simulation.wait(1_000)
    *_, waits, breach = kinds(of(simulation, two))
    assert (waits, breach) == ("step.waiting", "execution.sla_breached")


def test_a_dead_router_loses_the_lock_and_asks_again_for_what_is_not_dispatched() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"), change("web-01"))
    two = submit(simulation, "two", change("web-01"))
    command = simulation.take()
    simulation.report("started", command)
    # Nobody renews: the renewals lie on the topic, unread.
    simulation.slow_locks = True
    simulation.now += LOCK_LEASE_SECONDS + 1
    simulation.hosted.keeper.tick(simulation.now, simulation.out)
    simulation.slow_locks = False
    simulation.produce(topics.CONTROL, b"", b"")
    assert of(simulation, one, "lock.expired")
    (other,) = of(simulation, two, "step.dispatched")
    simulation.report("succeeded", command)
    assert len(of(simulation, one, "step.dispatched")) == 1
    (waiting,) = of(simulation, one, "step.waiting")
    assert waiting["data"]["message"] == f"web-01 is locked by {two}"
    simulation.run(simulation.take())
    again = of(simulation, one, "step.dispatched")[-1]["data"]["fencing_tokens"]
    assert again["web-01"] > other["data"]["fencing_tokens"]["web-01"]


def test_a_command_that_was_refused_for_its_token_is_tried_again() -> None:
    simulation = Simulation()
    submit(simulation, "one", change("web-01", retry={"max_attempts": 2}))
    command = simulation.take()
    simulation.report("refused", command, reason="fenced", message="a higher token was seen")
    simulation.wait(30)
    assert simulation.take()["attempt"] == 2


@pytest.mark.parametrize("first", [True, False])
def test_a_restart_forgets_neither_who_holds_nor_who_waits(first: bool) -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"))
    simulation.slow_locks = True
    two = submit(simulation, "two", change("web-01"))
    if first:
        simulation.restart()
    simulation.slow_locks = False
    simulation.wait(1)
    if not first:
        simulation.restart()
    simulation.wait(1)
    assert of(simulation, two, "step.waiting")
    command = simulation.take()
    assert command["execution_id"] == one
    simulation.run(command)
    assert of(simulation, two, "step.dispatched")


def test_an_idle_holder_keeps_its_lock_by_renewals() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"), timeout_seconds=80_000)
    simulation.control("pause", one)
    simulation.wait(20 * LOCK_LEASE_SECONDS)
    assert not of(simulation, one, "lock.expired")
    assert simulation.hosted.keeper.keeper.holders == {("default", "web-01"): one}


def test_a_grant_to_an_execution_that_has_ended_is_given_back() -> None:
    simulation = Simulation()
    one = submit(simulation, "one", change("web-01"))
    simulation.slow_locks = True
    two = submit(simulation, "two", change("web-01"))
    asked = simulation.lock_records[-1]
    simulation.control("cancel", two)
    simulation.lock_records.append(asked)  # the request comes after the release
    simulation.slow_locks = False
    simulation.run(simulation.take())
    assert kinds(of(simulation, one))[-1] == "execution.completed"
    assert simulation.hosted.keeper.keeper.parties == {}


def test_items_lock_all_their_hosts_at_once() -> None:
    """Two plans that go over the same hosts one by one, in opposite directions."""
    simulation = Simulation()
    hosts = ["web-01", "web-02", "web-03"]
    restart = {"tool": "service", "parameters": {"host": "{{ item }}", "operation": "restart",
               "name": "nginx"}, "max_parallel": 1}  # fmt: skip
    one = submit(simulation, "one", {**restart, "for_each": hosts})
    submit(simulation, "two", {**restart, "for_each": hosts[::-1]})
    for _ in range(6):
        simulation.run(simulation.take())
    assert {e["data"]["tokens"].keys() == set(hosts) for e in of(simulation, one, "lock.acquired")}
    assert kinds(simulation.events).count("execution.completed") == 2
    assert not [e for e in simulation.events if e["type"] == "step.failed"]


def test_a_block_locks_the_hosts_of_all_its_items_at_once() -> None:
    """Two rolling restarts over the same hosts, in opposite directions."""
    simulation = Simulation()
    hosts = ["web-01", "web-02", "web-03"]
    look = {"id": "look", "tool": "noop"}
    restart = {"id": "restart", "tool": "service", "parameters": {"host": "{{ item }}",
               "operation": "restart", "name": "nginx"}}  # fmt: skip
    block = {"id": "roll", "max_parallel": 1, "steps": [look, restart]}
    one = submit(simulation, "one", {**block, "for_each": hosts})
    submit(simulation, "two", {**block, "for_each": hosts[::-1]})
    while simulation.commands:
        simulation.run(simulation.take())
    assert {e["data"]["tokens"].keys() == set(hosts) for e in of(simulation, one, "lock.acquired")}
    assert kinds(simulation.events).count("execution.completed") == 2
    assert not [e for e in simulation.events if e["type"] == "step.failed"]


def test_targets_that_only_the_run_knows_end_a_deadlock_with_a_class_and_a_remedy() -> None:
    simulation = Simulation()

    def plan(key: str, first: str, late: str) -> str:
        look = {"tool": "noop", "id": "look", "parameters": {"value": late}}
        restart = {"tool": "service", "parameters": {"operation": "restart", "name": "nginx",
                   "host": "{{ steps.look.output.value }}"}}  # fmt: skip
        return submit(simulation, key, change(first), look, restart)

    one, two = plan("one", "web-01", "web-02"), plan("two", "web-02", "web-01")
    for _ in range(2):
        simulation.run(simulation.take())
    for _ in range(2):
        command = simulation.take()
        simulation.run(command, {"value": command["parameters"]["value"]})
    (failed,) = of(simulation, two, "step.failed")
    assert failed["data"]["error"]["class"] == "deadlock"
    assert "`assets`" in failed["data"]["error"]["message"]
    assert kinds(of(simulation, two))[-1] == "execution.partial"
    simulation.run(simulation.take())
    assert kinds(of(simulation, one))[-1] == "execution.completed"


def test_more_locks_than_a_record_can_say_fail_the_step() -> None:
    simulation = Simulation()
    steps = [change(*(f"{n:03}-{m:03}-{'x' * 200}" for m in range(90))) for n in range(10)]
    one = submit(simulation, "one", *steps)
    (failed,) = of(simulation, one, "step.failed")
    assert failed["data"]["error"]["class"] == "too_large"


def test_what_is_not_a_lock_message_is_a_dead_letter() -> None:
    simulation = Simulation()
    for topic in (topics.LOCK_COMMANDS, topics.LOCK_GRANTS):
        for raw in (b"", b"{}", b'{"type":"acquire"}', b"\xff"):
            simulation.produce(topic, raw, b"k")
    assert [name for name, _, _ in simulation.dead] == (
        [topics.LOCK_COMMANDS.dlq] * 4 + [topics.LOCK_GRANTS.dlq] * 4
    )


def test_what_undoes_each_item_is_locked_with_the_first_of_them() -> None:
    """Or the undoing would wait for others while the plan holds what they wait for."""
    simulation = Simulation()
    undo = {"tool": "change", "parameters": {"host": "{{ item }}"}}
    step = {
        "id": "a", "tool": "change", "parameters": {"host": "web-01"},
        "for_each": ["web-02", "web-03"], "compensate": undo,
    }  # fmt: skip
    simulation.submit({"steps": [step]})
    keeper = simulation.hosted.keeper.keeper
    assert {asset for _, asset in keeper.holders} == {"web-01", "web-02", "web-03"}
