"""What a hostile producer, or the key of one executor, can make of the router: nothing of it."""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import pytest

from authority.identity import Forged, Signer
from processors.router.authorisation import MAX_ACCESSES
from processors.router.policy import OVERDUE_SECONDS
from processors.router.quotas import Quota
from streams.ids import is_execution_id, route_of
from streams.topics import Topic
from tests.unit.router.simulation import Simulation, kinds

STEPS = {"steps": [{"tool": "noop"}]}
REQUEST = {"idempotency_key": "k", "tenant": "acme", "actor": "alice", "plan": STEPS}


class Chosen:
    """Every request is signed as the test says; reports are those of an executor of `domain`."""

    def __init__(self) -> None:
        self.as_signed: Signer | Forged | None = None
        self.domain = "test"

    def signer(self, message: Any, topic: Topic, now: float) -> Signer | Forged | None:
        return self.as_signed

    def of_key(self, kid: str, signed_at: int, now: float) -> Signer | Forged:
        return Forged("no key is known")

    def report_time(self, message: Any, domain: str | None, now: float) -> int | Forged:
        if domain in (None, self.domain):
            return round(now * 1_000_000)
        return Forged(f"the key is for {self.domain}")


@pytest.mark.parametrize("proposed", ["lock/", "x/", "\u00e9" * 20, "A" * 4_000, "  "])
def test_a_rerun_gets_no_id_that_is_none(proposed: str) -> None:
    """Such an id would be a key of the changelog that no router could read again."""
    simulation = Simulation()
    first = simulation.submit(STEPS)[0]["execution_id"]
    simulation.fail(simulation.take())
    wanted = proposed + first[-36 + min(len(proposed), 28) :]
    events = simulation.control("rerun", first, new_execution_id=wanted)
    accepted = next(event for event in events if event["type"] == "execution.accepted")
    assert is_execution_id(accepted["execution_id"])
    assert route_of(accepted["execution_id"]) == route_of(first)
    simulation.restart()
    assert kinds(simulation.run(simulation.take()))[-1] == "execution.completed"


def test_an_unsigned_run_in_between_does_not_make_a_replay_good() -> None:
    chosen = Chosen()
    simulation = Simulation(authentication=chosen)
    signed = Signer("key-a", "acme", "alice", 5)
    chosen.as_signed = signed
    simulation.submit(REQUEST)
    simulation.fail(simulation.take())
    chosen.as_signed = None
    other = {**REQUEST, "actor": "anonymous", "plan": {"steps": [{"tool": "fail"}]}}
    events = simulation.submit(other)
    if kinds(events)[0] == "execution.accepted":
        simulation.fail(simulation.take())
    simulation.restart()
    chosen.as_signed = signed
    event, _ = simulation.submit(REQUEST)
    assert event["data"]["reason"] == "not_authentic"
    assert not simulation.commands


@pytest.mark.parametrize("ended", ["living", "failed", "completed"])
def test_an_unsigned_request_takes_nothing_from_a_key_that_was_signed(ended: str) -> None:
    chosen = Chosen()
    chosen.domain = "test"
    simulation = Simulation(authentication=chosen)
    chosen.as_signed = Signer("key-a", "acme", "alice", 5)
    first = simulation.submit(REQUEST)[0]["execution_id"]
    if ended == "failed":
        simulation.fail(simulation.take())
    elif ended == "completed":
        simulation.run(simulation.take())
    simulation.commands.clear()
    chosen.as_signed = None
    event, _ = simulation.submit(REQUEST)
    assert event["type"] == "execution.rejected"
    assert event["data"]["reason"] == "not_authentic"
    assert event["execution_id"] != first
    assert first not in str(event["data"])
    assert not simulation.commands


def test_items_times_secrets_are_bounded() -> None:
    """Each pair would be a decision of its own: one request would stop the router for minutes."""
    simulation = Simulation()
    step = {
        "tool": "df",
        "parameters": {"host": "{{ item }}"},
        "secrets": {f"s{n}": {"type": "secret", "path": f"env/A{n}"} for n in range(1_000)},
        "for_each": list(range(30_000)),
    }
    begun = time.monotonic()
    (event,) = simulation.submit({"steps": [step]})
    assert time.monotonic() - begun < 5
    assert event["data"]["reason"] == "invalid"
    assert str(MAX_ACCESSES) in event["data"]["message"]


def test_what_ended_keeps_reports_of_another_domain_out() -> None:
    chosen = Chosen()
    chosen.domain = "test"
    simulation = Simulation(authentication=chosen)
    simulation.submit(STEPS)
    command = simulation.take()
    simulation.report("started", command)
    simulation.control("cancel", command["execution_id"])
    simulation.report("cancelled", command, confirmed=True)
    chosen.domain = "network"
    for again in (False, True):
        if again:
            simulation.restart()
        error = {"class": "x", "message": "x", "transient": False}
        events = simulation.report("failed", command, error=error)
        assert "step.late_result" not in kinds(events)
    chosen.domain = "test"
    assert kinds(simulation.report("succeeded", command)) == ["step.late_result"]


@pytest.mark.parametrize("reports", [["waiting"], ["waiting", "resumed", "heartbeat"]])
def test_an_attempt_that_is_told_to_end_does_not_live_for_ever(reports: list[str]) -> None:
    """Whoever holds it back by reports, old or new ones, keeps no lock and no execution by that."""
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "noop", "timeout_seconds": 5}]})
    command = simulation.take()
    execution_id = command["execution_id"]
    simulation.report("started", command)
    simulation.report("waiting", command, reason="rate_limit", message="wait")
    simulation.control("cancel", execution_id)
    for _ in range(int(OVERDUE_SECONDS) * 3):
        simulation.wait(1)
        for kind in reports:
            fields = {"reason": "rate_limit", "message": "wait"} if kind == "waiting" else {}
            simulation.report(kind, command, **fields)
    ended = [event for event in simulation.events if event["type"] == "execution.cancelled"]
    assert len(ended) == 1
    (step,) = [event for event in simulation.events if event["type"] == "step.cancelled"]
    assert step["data"]["confirmed"] is False


def test_the_use_of_a_secret_is_told_once() -> None:
    simulation = Simulation()
    simulation.submit(STEPS)
    command = simulation.take()
    simulation.report("started", command)
    uses = [{"path": "env/A", "parameter": "x", "rule": "r"}]
    assert kinds(simulation.report("secrets_used", command, uses=uses)) == ["audit.secret_used"]
    assert simulation.report("secrets_used", command, uses=uses) == []
    simulation.restart()
    assert simulation.report("secrets_used", command, uses=uses) == []


def test_what_waits_for_a_lock_and_is_cancelled_after_a_restart_keeps_nothing() -> None:
    """Its place in the queue would keep other assets from everybody behind it."""
    simulation = Simulation()

    def change(key: str, *assets: str) -> str:
        step = {"tool": "argv", "parameters": {"argv": ["true"]}, "assets": list(assets)}
        request = {"idempotency_key": key, "actor": "ann", "plan": {"steps": [step]}}
        found: str = simulation.submit(request)[0]["execution_id"]
        return found

    change("holder", "db")
    waiting = change("waiting", "db", "web")
    simulation.restart()
    simulation.control("cancel", waiting)
    simulation.commands.clear()
    last = change("last", "web")
    assert [command["execution_id"] for command in simulation.commands] == [last]


def waiting_items(count: int) -> tuple[Simulation, str]:
    """Items that each lock what only the run tells, and everything that the plan names."""
    simulation = Simulation()
    names = [f"{number:03d}{'x' * 240}" for number in range(100)]
    change = {"tool": "argv", "parameters": {"argv": ["true"]}, "assets": names}
    simulation.submit({"idempotency_key": "holder", "plan": {"steps": [change]}})
    items = {
        "tool": "systemctl",
        "parameters": {"host": "{{ item + 'y' }}", "action": "restart", "service": "x"},
        "for_each": [f"i{number}" for number in range(count)],
        "assets": names,
    }
    accepted = simulation.submit({"idempotency_key": "items", "plan": {"steps": [items]}})
    return simulation, accepted[0]["execution_id"]


def test_items_that_wait_for_locks_ask_for_each_asset_once() -> None:
    simulation, execution_id = waiting_items(25)
    party = simulation.hosted.keeper.keeper.parties[execution_id]
    asked = [asset for assets in party.requests.values() for asset in assets]
    assert len(asked) == len(set(asked))
    simulation.run(simulation.take())
    done = 0
    while simulation.commands:
        simulation.run(simulation.take())
        done += 1
    assert done == 25
    assert kinds(simulation.events)[-1] == "execution.completed"


def test_items_that_lock_too_much_fail_in_a_bounded_time() -> None:
    simulation = Simulation()
    items = {
        "tool": "systemctl",
        "parameters": {"host": "{{ item.host }}", "action": "restart", "service": "x"},
        "for_each": [{"host": f"{number:04d}{'x' * 200}"} for number in range(1_900)],
        "on_failure": "continue",
    }
    begun = time.process_time()
    events = simulation.submit({"steps": [items]})
    assert time.process_time() - begun < 20
    assert kinds(events)[-1] == "execution.failed"


def test_more_assets_than_one_command_takes_lose_no_result() -> None:
    simulation = Simulation()
    simulation.submit({"steps": [{"tool": "asset_list", "parameters": {}}]})
    command = simulation.take()
    rows = [{"asset_id": number} for number in range(1, 12_000)]
    events = simulation.run(command, {"assets": rows})
    assert kinds(events)[-1] == "execution.completed"


def test_an_actor_without_a_key_stands_in_no_event_as_the_actor() -> None:
    simulation = Simulation(authentication=Chosen())
    named = {**REQUEST, "actor": "olga"}
    simulation.submit(named)
    (duplicate,) = simulation.submit(named)
    (conflict,) = simulation.submit({**named, "plan": {"steps": [{"tool": "fail"}]}})
    (unknown,) = simulation.submit({**named, "plan": {"steps": [{"tool": "none"}]}, "tenant": "b"})
    (invalid,) = simulation.submit({**named, "plan": {"steps": []}})
    for event in (duplicate, conflict, unknown, invalid):
        assert event["data"]["actor"] == "anonymous", event


def test_a_duplicate_says_nothing_of_an_id_that_is_none() -> None:
    simulation = Simulation()
    simulation.submit(REQUEST)
    (event,) = simulation.submit({**REQUEST, "execution_id": "x" * 100_000})
    assert event["type"] == "execution.duplicate"
    assert event["data"]["requested_execution_id"] is None


def test_what_nobody_signed_has_one_quota_whatever_tenants_it_names() -> None:
    """Anybody may name a tenant that nobody has used before, and would get a quota with it."""
    simulation = Simulation(authentication=Chosen())
    handler = simulation.partition.requests
    quota = Quota(active_executions=3, executions_per_hour=100, steps_per_hour=100)
    simulation.partition.requests = replace(handler, quota_of=lambda _tenant: quota)
    for number in range(3):
        (accepted, *_) = simulation.submit({**STEPS, "tenant": f"t{number}"})
        assert accepted["type"] == "execution.accepted"
    for _ in range(2):
        (event,) = simulation.submit({**STEPS, "tenant": "t9"})
        assert (event["type"], event["data"]["reason"]) == ("execution.rejected", "quota")
        assert "signature" in event["data"]["message"]
        restarted = simulation.partition.requests.quota_of
        simulation.restart()
        simulation.partition.requests = replace(simulation.partition.requests, quota_of=restarted)
    simulation.run(simulation.take())
    assert kinds(simulation.submit({**STEPS, "tenant": "t9"}))[0] == "execution.accepted"
