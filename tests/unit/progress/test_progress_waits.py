"""Every kind of wait: its reason, how long it lasts, and what is left to every limit."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from processors.progress.fold import fold
from processors.progress.history import DurationHistory
from processors.progress.records import STATE, record
from processors.progress.snapshot import show, snapshot
from processors.progress.state import Progress, unpack
from streams.events import Event
from streams.progress import Limit, ProgressSnapshot
from streams.timestamps import iso
from streams.topics import PROGRESS
from tests.unit.progress.histories import Log, histories


def folded(events: list[Event]) -> Progress:
    state: Progress | None = None
    for event in events:
        state = fold(state, event)
    assert state is not None
    return state


def at_work() -> Log:
    log = Log()
    log.accept(["a", "b"], sla_seconds=100.0)
    log.add("execution.started")
    return log


def attempt(log: Log, **more: Any) -> None:
    sent = {"target": "web-01", "expires_at": iso(log.at + 3_600.0), **more}
    log.add("step.dispatched", sent, step="a", attempt=1, seconds=0)


def began(log: Log) -> None:
    attempt(log)
    log.add("step.started", step="a", attempt=1, seconds=0)


def waits(reason: str) -> dict[str, Any]:
    return {"reason": reason, "message": f"because of {reason}"}


ERROR: Final = {"class": "refused", "message": "connection refused", "transient": True}


def lock(log: Log) -> None:
    log.add("step.waiting", {**waits("lock"), "until": iso(log.at + 3_600.0)}, step="a")


def no_executor(log: Log) -> None:
    attempt(log)
    log.add("step.waiting", waits("no_executor"), step="a", attempt=1)


def target_limit(log: Log) -> None:
    began(log)
    log.add("step.waiting", waits("target_limit"), step="a", attempt=1)


def rate_limit(log: Log) -> None:
    began(log)
    log.add("step.waiting", waits("rate_limit"), step="a", attempt=1)


def backoff(log: Log) -> None:
    began(log)
    failed = {"duration_seconds": 1.0, "error": ERROR, "final": False}
    log.add("step.failed", failed, step="a", attempt=1, seconds=0)
    again = {"next_attempt": 2, "delay_seconds": 40.0, "at": iso(log.at + 40.0)}
    log.add("step.retry_scheduled", again, step="a", attempt=1, seconds=0)


def until(log: Log) -> None:
    began(log)
    polled = {"poll": 1, "limit": 9, "next_attempt": 2, "at": iso(log.at + 40.0)}
    log.add("step.polled", {"duration_seconds": 1.0, **polled}, step="a", attempt=1, seconds=0)


KINDS: Final = {
    "lock": lock,
    "no_executor": no_executor,
    "target_limit": target_limit,
    "rate_limit": rate_limit,
    "backoff": backoff,
    "until": until,
}


@pytest.mark.parametrize("reason", KINDS)
def test_every_wait_of_a_step_says_why_since_when_and_how_long_it_took(reason: str) -> None:
    log = at_work()
    KINDS[reason](log)
    begun = log.at
    shot = snapshot(folded(log.events), begun + 7.0)
    step = shot.steps[0]
    assert step.wait is not None
    assert (step.status, step.wait.reason) == ("waiting", reason)
    assert step.wait.since.timestamp() == pytest.approx(begun)
    assert step.wait.message == step.message
    assert (step.wait.until is not None) is (reason in ("lock", "backoff", "until"))
    assert shot.waited_seconds == {reason: 7.0}
    log.add("step.dispatched", step="a", attempt=2, seconds=20.0)
    log.add("step.started", step="a", attempt=2, seconds=0)
    log.add("step.succeeded", {"duration_seconds": 1.0}, step="a", attempt=2)
    log.add("execution.completed")
    shot = snapshot(folded(log.events), log.at)
    step = shot.steps[0]
    assert step.wait is None
    assert step.waited_seconds == pytest.approx(20.0)
    assert shot.waited_seconds == {reason: 20.0}
    held = None if reason in ("backoff", "until") else 20.0
    assert step.held_seconds == held


def test_a_wait_that_says_something_new_is_the_same_wait_until_its_reason_changes() -> None:
    log = at_work()
    lock(log)
    begun = log.at
    log.add("step.waiting", {**waits("lock"), "message": "locked by another"}, step="a")
    step = snapshot(folded(log.events), log.at).steps[0]
    assert step.wait is not None
    assert (step.wait.since.timestamp(), step.wait.message) == (begun, "locked by another")
    attempt(log)
    log.add("step.waiting", waits("no_executor"), step="a", attempt=1, seconds=10.0)
    shot = snapshot(folded(log.events), log.at)
    assert shot.steps[0].wait is not None
    assert shot.steps[0].wait.reason == "no_executor"
    assert shot.waited_seconds == {"lock": 1.0, "no_executor": 0.0}


def test_an_execution_waits_for_its_approval_and_for_people() -> None:
    log = Log()
    log.accept(["a"])
    expiry = iso(log.at + 300.0)
    log.add("execution.approval_requested", {"level": 2, "expires_at": expiry}, seconds=0)
    log.add("execution.approval_given", {"actor": "ann", "given": 1, "level": 2})
    shot = snapshot(folded(log.events), log.at + 9.0)
    assert shot.wait is not None
    assert (shot.wait.reason, shot.wait.message) == (
        "approval", "waits for 1 more of 2 approvals",
    )  # fmt: skip
    (approval,) = [one for one in shot.limits if one.limit == "approval_expiry"]
    assert approval.remaining_seconds == pytest.approx(290.0)
    log.add("execution.approved", seconds=19.0)
    log.add("execution.started")
    log.add("execution.paused", {"actor": "ops", "reason": "lunch"})
    shot = snapshot(folded(log.events), log.at + 60.0)
    assert shot.wait is not None
    assert (shot.wait.reason, shot.wait.message) == ("paused", "paused by ops: lunch")
    assert shot.waited_seconds == {"approval": 20.0, "paused": 60.0}


def limits(shot: ProgressSnapshot) -> dict[str, Limit]:
    return {one.limit: one for one in shot.limits}


def test_the_remaining_time_to_every_limit() -> None:
    log = at_work()
    began_at = log.at
    attempt(log, timeout_seconds=5.0)
    shot = snapshot(folded(log.events), log.at + 10.0)
    (claim,) = shot.steps[0].limits
    assert claim.limit == "claim_expiry"
    assert claim.remaining_seconds == pytest.approx(3_590.0)
    log.add("step.started", step="a", attempt=1, seconds=12.0)
    shot = snapshot(folded(log.events), log.at + 2.0)
    (timeout,) = shot.steps[0].limits
    assert timeout.limit == "step_timeout"
    assert timeout.remaining_seconds == pytest.approx(3.0)
    assert shot.steps[0].target == "web-01"
    found = limits(shot)
    assert found["sla"].remaining_seconds == pytest.approx(100.0 - 1.0 - 14.0)
    assert found["execution_timeout"].remaining_seconds == pytest.approx(60.0 - 14.0)
    assert found["execution_timeout"].at is not None
    assert found["execution_timeout"].at.timestamp() == pytest.approx(began_at + 60.0)


def test_the_clock_of_the_execution_stands_still_while_a_person_is_waited_for() -> None:
    log = at_work()
    log.add("execution.paused", seconds=10.0)
    for later in (0.0, 1_000.0):
        held = limits(snapshot(folded(log.events), log.at + later))["execution_timeout"]
        assert held.at is None
        assert held.remaining_seconds == pytest.approx(50.0)
    log.add("execution.resumed", {"status": "running"}, seconds=500.0)
    on = limits(snapshot(folded(log.events), log.at + 20.0))["execution_timeout"]
    assert on.remaining_seconds == pytest.approx(30.0)


def test_finally_has_a_limit_of_its_own() -> None:
    log = at_work()
    accepted = log.events[0]
    accepted.data.plan.finally_seconds = 120.0  # type: ignore[union-attr]
    log.add("execution.finally_started", {"status": "failed"})
    found = limits(snapshot(folded(log.events), log.at + 20.0))
    assert found["finally_timeout"].remaining_seconds == pytest.approx(100.0)
    assert "execution_timeout" not in found


def test_a_breach_is_expected_before_it_comes() -> None:
    history = DurationHistory()
    for _ in range(10):
        log = at_work()
        log.run("a", 30.0)
        log.run("b", 30.0)
        log.add("execution.completed")
        history.observe(folded(log.events))
    for sla_seconds, expected in ((20.0, True), (200.0, False)):
        log = Log()
        log.accept(["a", "b"], sla_seconds=sla_seconds)
        log.add("execution.started")
        began(log)
        sla = snapshot(folded(log.events), log.at + 1.0, history).sla
        assert sla is not None
        assert (sla.breached, sla.breach_expected) == (False, expected)
        assert sla.remaining_seconds == pytest.approx(sla_seconds - 2.0)


@settings(max_examples=40)
@given(histories(), st.floats(0, 100, allow_nan=False))
def test_every_document_is_what_its_models_say(events: list[Event], later: float) -> None:
    """It is written without them: whatever they would read again must be the same."""
    history = DurationHistory()
    history.observe(folded(events))
    state: Progress | None = None
    for event in events:
        state = fold(state, event)
        assert state is not None
        made = record(state, event.unix() + later, 0, history)
        read = ProgressSnapshot.model_validate_json(made.value)
        known = set(ProgressSnapshot.model_fields)
        assert set(json.loads(made.value)) <= known
        again = ProgressSnapshot.model_validate_json(read.model_dump_json())
        assert again == read
        for model in (read, *read.steps, *read.limits, read.wait, read.sla):
            assert model is None or not model.model_extra
        state = show(state, event.unix() + later, history).progress


def test_the_largest_execution_fits_a_record_of_the_topic() -> None:
    log = Log()
    log.accept(["each"])
    log.add("execution.started")
    names = [f"each[{number}]" for number in range(1_999)]
    log.add("step.expanded", {"items": 1_999, "steps": names}, step="each")
    said = "🙂" * 400
    state = folded(log.events)
    for name in names:
        for kind, data in (
            ("step.dispatched", {"target": said + name}),
            ("step.waiting", {"reason": "target_limit", "message": said}),
        ):
            after = fold(state, log.add(kind, data, step=name, attempt=1, seconds=0))
            assert after is not None
            state = after
    made = record(state, log.at + 1.0, 0)
    size = len(made.value) + sum(len(value) for _, value in made.headers)
    assert size < PROGRESS.max_message_bytes - 64 * 1024
    again = unpack(next(value for name, value in made.headers if name == STATE))
    assert show(again, log.at + 1.0).document == show(state, log.at + 1.0).document


@given(histories())
def test_waits_add_up_and_none_is_left_at_the_end(events: list[Event]) -> None:
    shot = snapshot(folded(events), 0.0)
    assert shot.wait is None
    assert all(step.wait is None for step in shot.steps if step.ended_at is not None)
    steps = sum(step.waited_seconds or 0.0 for step in shot.steps)
    whole = sum(shot.waited_seconds.get(one, 0.0) for one in ("approval", "paused"))
    assert sum(shot.waited_seconds.values()) == pytest.approx(steps + whole, abs=0.01)
