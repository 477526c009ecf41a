"""What the router hears of an attempt that is held back."""

from __future__ import annotations

import asyncio
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import pytest
from confluent_kafka import KafkaError

from drivers.rate_limits import Rate, RateLimiter
from processors.executors import hold_reports
from processors.executors.attempts import Attempt, NotBegun
from processors.executors.final_report import evidence
from processors.executors.hold_reports import HoldReports
from processors.executors.reports import Reports
from runtime import clock
from runtime.kafka.publisher import DeliveryError
from streams.reports import REPORT, AnyReport, Resumed, Waiting
from tests.driver_kit import until
from tests.unit.executors_agent.test_attempts import left, made
from tests.unit.executors_agent.test_reports import no_tokens


class FakePublisher:
    """A fake publisher: delivers at once, or keeps what it refused."""

    def __init__(self) -> None:
        self.reports: list[AnyReport] = []
        self.idents: list[bytes] = []
        self.refuses = 0

    def publish_soon(
        self, topic: str, key: bytes, value: bytes, headers: Any, delivered: Any
    ) -> None:
        if self.refuses:
            self.refuses -= 1
            delivered(DeliveryError(KafkaError(KafkaError._TIMED_OUT)))
            return
        self.reports.append(REPORT.validate_json(value))
        self.idents.append(dict(headers)["ce_id"])
        delivered(None)


def _no_hold(before: int) -> AbstractContextManager[None]:
    return nullcontext()


def holder(publisher: FakePublisher) -> HoldReports:
    given: Any = publisher
    return HoldReports(given, "steps.reports", Reports("here", no_tokens))


def test_waiting_and_resumed_are_reported_and_the_time_limit_starts_afterwards() -> None:
    async def story() -> None:
        publisher = FakePublisher()
        attempt = made(timeout_seconds=9.0)
        attempt.begin(clock.monotonic())
        with holder(publisher).hold(attempt, "target_limit", "web-01 is busy"):
            assert left(attempt) is None and not attempt.began
            (waiting,) = publisher.reports
            assert isinstance(waiting, Waiting)
            assert (waiting.reason, waiting.message) == ("target_limit", "web-01 is busy")
        assert isinstance(publisher.reports[1], Resumed)
        assert 8.0 < (left(attempt) or 0) <= 9.0
        assert evidence(attempt)["began"] is True
        assert len(set(publisher.idents)) == 2

    asyncio.run(story())


def test_a_wait_that_outlasts_the_lease_begins_nothing_and_is_not_called_resumed() -> None:
    async def story() -> None:
        publisher = FakePublisher()
        attempt = made(age=31.0, lease_seconds=30.0)
        with pytest.raises(NotBegun), holder(publisher).hold(attempt, "rate_limit", "m"):
            pass
        assert [one.type for one in publisher.reports] == ["waiting"] and not attempt.began

    asyncio.run(story())


def test_a_refused_report_is_sent_again_unless_it_is_outdated(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hold_reports, "_RETRY_SECONDS", 0.0)

    async def story() -> None:
        again, outdated = FakePublisher(), FakePublisher()
        again.refuses = 2
        with holder(again).hold(made(), "target_limit", "m"):
            await until(lambda: len(again.reports) == 1)
        assert [one.type for one in again.reports] == ["waiting", "resumed"]
        outdated.refuses = 1
        with holder(outdated).hold(made(), "target_limit", "m"):
            pass
        for _ in range(10):
            await asyncio.sleep(0)
        assert [one.type for one in outdated.reports] == ["resumed"]

    asyncio.run(story())


def test_a_rate_limit_lets_the_burst_pass_and_holds_the_rest_back() -> None:
    rate = Rate(per_second=50.0, burst=3)

    async def story() -> None:
        publisher, limiter = FakePublisher(), RateLimiter()
        holds = holder(publisher)

        async def use(attempt: Attempt) -> None:
            await limiter.acquire(
                "hooks.example.org",
                rate,
                lambda before: holds.hold(attempt, "rate_limit", f"{before} before"),
            )

        used = [asyncio.create_task(use(made())) for _ in range(5)]
        await asyncio.sleep(0)
        messages = [one.message for one in publisher.reports if isinstance(one, Waiting)]
        assert messages == ["0 before", "1 before"]
        await asyncio.wait_for(asyncio.gather(*used), 5)
        assert [one.type for one in publisher.reports].count("resumed") == 2
        assert len(limiter) == 1

    asyncio.run(story())


def test_a_cancelled_wait_takes_nothing_from_the_rate() -> None:
    rate = Rate(per_second=50.0, burst=1)

    async def story() -> None:
        limiter = RateLimiter()
        use = partial(limiter.acquire, "a", rate, _no_hold)
        await use()
        waiting = [asyncio.create_task(use()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait_for(asyncio.gather(*waiting[1:]), 5)
        assert waiting[0].cancelled()

    asyncio.run(story())


def test_receivers_longest_unused_are_forgotten() -> None:
    async def story() -> None:
        limiter = RateLimiter()
        for number in range(10_100):
            await limiter.acquire(str(number), Rate(1.0, 5), _no_hold)
        assert len(limiter) == 10_000

    asyncio.run(story())
