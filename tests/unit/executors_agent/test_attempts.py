"""One attempt: how it is performed, ended and summed up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from drivers.context import Failure, HoldReason, Outcome, RunContext, Success
from drivers.output import OutputPublisher
from drivers.resources import Resources
from processors.executors import attempts, final_report
from processors.executors.attempts import Attempt
from processors.executors.claim import Start
from processors.executors.keyed_semaphore import KeyedSemaphore
from processors.executors.slots import Slots
from runtime import clock
from tests.driver_kit import command, settings
from toolmeta.invocation import Invocation

Act = Callable[[RunContext], Awaitable[Outcome]]


def left(attempt: Attempt) -> float | None:
    """How much of the time limit is left, in seconds; None where it does not run."""
    return None if attempt.deadline is None else attempt.deadline - clock.monotonic()


class FakeDriver:
    """A driver made of one function."""

    def __init__(self, act: Act) -> None:
        self._act = act

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        return await self._act(context)


async def _nowhere(topic: str, key: bytes, value: bytes, headers: Any) -> None:
    """Nothing is written here."""


def made(retry_safe: bool = True, age: float = 0.0, **changed: Any) -> Attempt:
    given = command(**changed)
    output = OutputPublisher(given, topic="o", source="s", publish=_nowhere)
    context = RunContext(given, output, Resources(settings()), lambda percent, note: None)
    start = Start(given, "id", Invocation("any", "fake", retry_safe=retry_safe))
    return attempts.new_attempt(start, Slots(1), None, clock.monotonic() - age, output, context)


async def performed(
    attempt: Attempt, act: Act, meanwhile: Callable[[Attempt], None] | None = None
) -> tuple[str, dict[str, Any]]:
    task = asyncio.create_task(attempts.perform(attempt, FakeDriver(act), KeyedSemaphore(1)))
    attempt.task = task  # type: ignore[assignment]
    if meanwhile is not None:
        await asyncio.sleep(0.01)
        meanwhile(attempt)
    return final_report.result(attempt, await task)


async def _succeed(context: RunContext) -> Outcome:
    return Success({"value": 1})


async def _hang(context: RunContext) -> Outcome:
    try:
        await asyncio.sleep(60)
    except asyncio.CancelledError:
        context.evidence["pids_ended"] = [41, 42]
        context.stop.ended = True
        raise
    return Success({})


def test_success_and_failure_are_what_the_driver_says() -> None:
    async def fail(context: RunContext) -> Outcome:
        return Failure("exit_status", "It ended with 1.", output={"exit_code": 1})

    assert asyncio.run(performed(made(), _succeed)) == ("succeeded", {})
    kind, fields = asyncio.run(performed(made(), fail))
    assert kind == "failed" and fields["failure"].error_class == "exit_status"


def test_an_exception_shows_its_type_and_nothing_of_its_text() -> None:
    async def leak(context: RunContext) -> Outcome:
        raise ValueError("password=hunter2")

    kind, fields = asyncio.run(performed(made(), leak))
    assert kind == "failed"
    assert fields["failure"] == Failure("internal", "The driver failed with ValueError.")


def test_a_step_that_may_not_act_on_its_hosts_does_not_begin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stricter = Failure("environment", "web-01 belongs to prod")
    acted: list[RunContext] = []

    async def refusal(invocation: Invocation, context: RunContext) -> Failure:
        return stricter

    async def act(context: RunContext) -> Outcome:
        acted.append(context)
        return Success({})

    monkeypatch.setattr("drivers.asset_environments.refusal", refusal)
    attempt = made()
    kind, fields = asyncio.run(performed(attempt, act))
    assert (kind, fields) == ("failed", {"failure": stricter})
    assert not acted and not attempt.began


@pytest.mark.parametrize("reason", ["cancelled", "superseded"])
def test_a_cancel_has_evidence(reason: Any) -> None:
    kind, fields = asyncio.run(
        performed(made(), _hang, lambda attempt: attempt.end(reason, 0.0, "cancelled"))
    )
    assert kind == "cancelled" and fields["confirmed"]
    assert fields["evidence"] == {
        "pids_ended": [41, 42],
        "reason": "cancelled",
        "began": True,
        "effect": "possible",
    }


def test_a_driver_that_cannot_tell_what_it_ended_leaves_the_cancel_unconfirmed() -> None:
    """A request in flight: whether it had its effect is not known."""

    async def request(context: RunContext) -> Outcome:
        await asyncio.sleep(60)
        return Success({})

    kind, fields = asyncio.run(
        performed(made(), request, lambda attempt: attempt.end("cancelled", 0.0))
    )
    assert kind == "cancelled" and fields["confirmed"] is False
    assert fields["evidence"]["effect"] == "possible"
    assert "may have had its effect" in fields["evidence"]["cancel_unconfirmed"]


def test_a_driver_that_fails_while_it_stops_leaves_the_cancel_unconfirmed() -> None:
    async def broken(context: RunContext) -> Outcome:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            context.stop.ended = True
            raise ValueError("password=hunter2") from None
        return Success({})

    kind, fields = asyncio.run(
        performed(made(), broken, lambda attempt: attempt.end("cancelled", 0.0))
    )
    assert kind == "cancelled" and fields["confirmed"] is False
    assert "ValueError" in fields["evidence"]["cancel_unconfirmed"]
    assert "hunter2" not in str(fields)


@pytest.mark.parametrize("ending", ["cancelled", "superseded", "timed_out", "drained"])
def test_what_the_driver_returns_is_the_truth_whoever_ended_it(ending: Any) -> None:
    async def failed_by_itself(context: RunContext) -> Outcome:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return Failure("exit_status", "It ended with 1.", output={"exit_code": 1})
        return Success({})

    kind, fields = asyncio.run(
        performed(made(), failed_by_itself, lambda attempt: attempt.end(ending, 0.0))
    )
    assert kind == "failed" and fields["failure"].error_class == "exit_status"
    assert not fields.get("timed_out")


def test_the_grace_of_the_cancel_reaches_the_driver() -> None:
    async def graceful(context: RunContext) -> Outcome:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            context.evidence["grace"] = context.stop.grace_seconds
            context.stop.ended = context.stop.requested
            raise
        return Success({})

    _, fields = asyncio.run(
        performed(made(), graceful, lambda attempt: attempt.end("cancelled", 0.0, None, 2.5))
    )
    assert fields["evidence"]["grace"] == 2.5 and fields["confirmed"]


def test_an_attempt_whose_driver_has_returned_is_not_ended_any_more() -> None:
    attempt = made()
    attempt.performed, attempt.outcome = True, Success({})
    attempt.end("timed_out", 0.0)
    assert attempt.ending is None


def test_a_cancel_that_the_target_did_not_confirm_says_so() -> None:
    async def unreachable(context: RunContext) -> Outcome:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            context.evidence["cancel_unconfirmed"] = "The host does not answer."
            raise
        return Success({})

    _, fields = asyncio.run(
        performed(made(), unreachable, lambda attempt: attempt.end("cancelled", 0.0))
    )
    assert fields["confirmed"] is False


def test_a_cancel_before_the_first_line_begins_nothing() -> None:
    async def story() -> None:
        attempt = made()
        task = asyncio.create_task(
            attempts.perform(attempt, FakeDriver(_succeed), KeyedSemaphore(1))
        )
        attempt.task = task  # type: ignore[assignment]
        attempt.end("cancelled", 0.0)
        assert await task is None and not attempt.began
        kind, fields = final_report.result(attempt, None)
        assert kind == "cancelled" and fields["confirmed"]
        assert fields["evidence"] == {"began": False, "effect": "none", "reason": "cancelled"}

    asyncio.run(story())


async def _lose_the_cancel(context: RunContext | None = None) -> None:
    """As `asyncio.wait_for` of Python 3.11 can, where its end and the cancel meet."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)


def test_a_cancel_that_a_library_lost_is_found_before_the_first_effect() -> None:
    effects: list[str] = []

    async def act(context: RunContext) -> Outcome:
        context.not_acting()
        await _lose_the_cancel()
        context.acting()
        effects.append("sent")
        return Success({})

    def cancel(attempt: Attempt) -> None:
        attempt.end("cancelled", clock.monotonic())

    kind, fields = asyncio.run(performed(made(), act, cancel))
    assert (kind, effects) == ("cancelled", [])
    assert fields["evidence"]["effect"] == "none"


def test_a_cancel_that_was_lost_before_the_driver_begins_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    attempt = made()
    monkeypatch.setattr(attempt.context.resources.pacing, "step", _lose_the_cancel)
    kind, _ = asyncio.run(
        performed(attempt, _succeed, lambda one: one.end("cancelled", clock.monotonic()))
    )
    assert kind == "cancelled"
    assert not attempt.began


def test_success_just_before_a_cancel_stays_success() -> None:
    async def stubborn(context: RunContext) -> Outcome:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return Success({"done": True})
        return Success({})

    kind, _ = asyncio.run(
        performed(made(), stubborn, lambda attempt: attempt.end("cancelled", 0.0))
    )
    assert kind == "succeeded"


@pytest.mark.parametrize("retry_safe", [True, False])
def test_time_limit_and_drain_are_transient_only_where_repeating_is_safe(retry_safe: bool) -> None:
    for ending, name in (("timed_out", "timed_out"), ("drained", "executor_stopped")):
        kind, fields = asyncio.run(
            performed(
                made(retry_safe),
                _hang,
                lambda attempt, ending=ending: attempt.end(ending, 0.0),  # type: ignore[misc]
            )
        )
        assert kind == "failed" and fields["timed_out"] is (ending == "timed_out")
        assert fields["failure"].error_class == name
        assert fields["failure"].transient is retry_safe


def test_nothing_begins_after_the_lease() -> None:
    attempt = made(age=31.0, lease_seconds=30.0)
    kind, fields = asyncio.run(performed(attempt, _succeed))
    assert kind == "failed" and not attempt.began
    assert fields["failure"].error_class == "lease_lost" and fields["failure"].transient


def test_a_wait_for_a_target_that_is_ended_leaves_the_permit() -> None:
    async def story() -> None:
        targets = KeyedSemaphore(1)
        await targets.acquire("t")
        attempt = made(retry_safe=False, target="t")
        task = asyncio.create_task(attempts.perform(attempt, FakeDriver(_succeed), targets))
        attempt.task = task  # type: ignore[assignment]
        await asyncio.sleep(0.01)
        attempt.end("timed_out", 0.0)
        assert await task is None
        _, fields = final_report.result(attempt, None)
        # Nothing was done, so trying again is safe whatever the tool is.
        assert fields["failure"].transient
        targets.release("t")
        assert len(targets) == 0

    asyncio.run(story())


def test_the_time_limit_starts_when_the_attempt_begins() -> None:
    async def look(context: RunContext) -> Outcome:
        assert left(attempt) is not None
        return Success({})

    attempt = made(age=5.0, timeout_seconds=2.0, target="t")
    assert left(attempt) is None
    asyncio.run(performed(attempt, look))
    assert 0 < (left(attempt) or 0) <= 2.0


def test_a_permit_that_comes_after_the_command_expired_begins_nothing() -> None:
    """The process was frozen while it waited: the permit and the expiry meet it together."""

    async def story() -> None:
        permits = KeyedSemaphore(1)
        await permits.acquire("t")
        attempt = made(target="t")
        attempt.context.hold = _held(attempt)
        attempt.begin_before = clock.monotonic() - 1.0
        task = asyncio.create_task(attempts.perform(attempt, FakeDriver(_succeed), permits))
        await asyncio.sleep(0)
        permits.release("t")
        kind, fields = final_report.result(attempt, await task)
        assert kind == "failed" and not attempt.began
        assert fields["failure"].error_class == "expired" and fields["failure"].transient
        assert len(permits) == 0

    asyncio.run(story())


def test_a_wait_that_outlasts_the_command_is_a_transient_failure_with_nothing_begun() -> None:
    async def story() -> None:
        permits = KeyedSemaphore(1)
        await permits.acquire("t")
        attempt = made(retry_safe=False, target="t")
        attempt.context.hold = _held(attempt)
        task = asyncio.create_task(attempts.perform(attempt, FakeDriver(_succeed), permits))
        attempt.task = task  # type: ignore[assignment]
        await asyncio.sleep(0)
        attempt.end("expired", 0.0)
        kind, fields = final_report.result(attempt, await task)
        assert kind == "failed" and not attempt.began
        assert fields["failure"].error_class == "expired" and fields["failure"].transient
        assert fields["evidence"] == {"began": False, "effect": "none"}

    asyncio.run(story())


def _held(attempt: Attempt) -> Callable[[HoldReason, str], AbstractContextManager[None]]:
    """As the agent holds an attempt back, without the reports."""

    @contextmanager
    def hold(reason: HoldReason, message: str) -> Iterator[None]:
        attempt.wait()
        yield
        attempt.begin(clock.monotonic())

    return hold


@pytest.mark.parametrize("ahead_hours", [-1, 0, 1])
def test_how_long_an_attempt_may_be_held_back_survives_a_wrong_clock(ahead_hours: int) -> None:
    sent = datetime.now(UTC) - timedelta(hours=ahead_hours)
    attempt = made(dispatched_at=sent, expires_at=sent + timedelta(seconds=120))
    assert 100 < attempt.begin_before - clock.monotonic() <= 120


def test_progress_is_told_between_heartbeats_and_less_often_the_longer_it_runs() -> None:
    one = made()
    begun = one.claimed_at
    assert not one.progress_due(begun + 10.0)
    one.progress(5.0, None)
    assert not one.progress_due(begun + attempts.PROGRESS_SECONDS - 0.1)
    assert one.progress_due(begun + attempts.PROGRESS_SECONDS)
    reports, now = 0, begun
    while now < begun + 3_600.0:
        now += 0.5
        one.progress(now % 100.0, None)
        if one.progress_due(now):
            one.lease.heartbeat_at, one.told = now, (one.percent, one.note)
            reports += 1
    assert attempts.PROGRESS_PART <= reports < 5 * attempts.PROGRESS_PART
