"""The agent with a fake publisher: what it reports of the attempts that it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
import structlog
from confluent_kafka import KafkaError

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.resources import Resources
from processors.executors import agent as module
from processors.executors import result_sender
from processors.executors.agent import Agent
from processors.executors.cancellations import Cancellations
from processors.executors.claim import Start
from processors.executors.lane import Claimed
from processors.executors.slots import Slots
from runtime import clock
from runtime.kafka.publisher import DeliveryError
from runtime.settings import ExecutorSettings
from streams import report_lines
from streams.commands import CancelStep
from streams.envelope import SIGNATURE
from streams.reports import (
    REPORT,
    AnyReport,
    Cancelled,
    Failed,
    Heartbeat,
    RejectedCommand,
    SecretUse,
    Succeeded,
)
from tests.driver_kit import command, until
from tests.unit.executors_agent.test_attempts import FakeDriver
from tests.unit.executors_agent.test_reports import no_tokens
from toolmeta.invocation import Invocation


@dataclass
class FakePublisher:
    """A fake publisher: takes reports at once, and output when `gate` is open."""

    reports: list[AnyReport] = field(default_factory=list)
    gate: asyncio.Event = field(default_factory=asyncio.Event)

    async def publish(self, topic: str, key: bytes, value: bytes, headers: Any) -> None:
        await self.gate.wait()

    def publish_soon(
        self, topic: str, key: bytes, value: bytes, headers: Any, delivered: Any = None
    ) -> None:
        for one in report_lines.split(value, headers) or [value]:
            report = REPORT.validate_json(one)
            if not isinstance(report, Heartbeat):
                self.reports.append(report)
        delivered(None)


class Lab:
    """An agent with one driver, made of one function."""

    def __init__(self, act: Callable[[RunContext], Awaitable[Outcome]], **changed: Any) -> None:
        self.publisher = FakePublisher()
        self.lane: Any = SimpleNamespace(slots=Slots(8))
        settings = ExecutorSettings(**changed)
        self.agent = Agent(
            settings,
            structlog.get_logger(),
            self.publisher,  # type: ignore[arg-type]
            Resources(settings),
            {"fake": FakeDriver(act)},
            Cancellations(),
            no_tokens,
        )

    def begin(self, name: str, **changed: Any) -> None:
        given = command(step=name, **changed)
        start = Start(given, name, Invocation("any", "fake"))
        self.lane.slots.acquire(1)
        self.agent.begin(self.lane, [Claimed(start, None, clock.monotonic())])

    def cancel(self, name: str, grace_seconds: float = 5.0) -> None:
        given = command(step=name)
        body = {"execution_id": given.execution_id, "step": name, "attempt": 1,
                "reason": "cancelled", "grace_seconds": grace_seconds,
                "at": given.dispatched_at}  # fmt: skip
        self.agent.cancel(name, CancelStep.model_validate(body))

    def kinds(self, name: str) -> list[str]:
        return [one.type for one in self.publisher.reports if one.step == name]

    def last(self, name: str) -> AnyReport:
        return [one for one in self.publisher.reports if one.step == name][-1]


async def _sleeps(context: RunContext) -> Outcome:
    await asyncio.sleep(60)
    return Success({})


async def _writes(context: RunContext) -> Outcome:
    await context.output.write("stdout", b"done")
    return Success({"exit_code": 0})


def test_the_time_limit_holds_after_a_pause_without_attempts() -> None:
    async def story() -> None:
        lab = Lab(_sleeps)
        for name in ("one", "two"):
            lab.begin(name, timeout_seconds=0.1)
            await until(lambda name=name: bool(lab.kinds(name)))  # type: ignore[misc]
            end = lab.last(name)
            assert isinstance(end, Failed) and end.error["class"] == "timed_out"
            idle_since = clock.monotonic()
            await until(lambda at=idle_since: clock.monotonic() > at + 3 * module.TICK_SECONDS)  # type: ignore[misc]
        await lab.agent.drain(0, 0)

    asyncio.run(story())


def test_a_report_that_was_not_confirmed_is_sent_again_as_it_was(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """So nobody can tell a copy from it, signature and all."""
    monkeypatch.setattr(result_sender, "_RETRY_SECONDS", 0.01)
    sent: list[tuple[Any, ...]] = []

    def publish_soon(*given: Any) -> None:
        *record, delivered = given
        sent.append(tuple(record))
        lost = DeliveryError(KafkaError(KafkaError._MSG_TIMED_OUT))
        delivered(lost if len(sent) == 1 else None)

    async def story() -> None:
        lab = Lab(_writes)
        lab.publisher.gate.set()
        monkeypatch.setattr(lab.publisher, "publish_soon", publish_soon)
        lab.begin("one")
        await until(lambda: len(sent) == 2)
        assert sent[0] == sent[1] and (SIGNATURE, b"token") in sent[0][3]
        await lab.agent.drain(0, 0)

    asyncio.run(story())


def test_forged_cancels_are_reported_by_who_has_the_attempt() -> None:
    async def story() -> None:
        lab = Lab(_sleeps)
        forged = lab.agent._cancellations.forged
        # Before the claim, while it runs, and of an attempt that is elsewhere.
        forged.add("one", "it is not signed")
        lab.begin("one")
        for name in ("one", "elsewhere"):
            forged.add(name, "the key is not trusted")
            lab.agent.report_forged(name)
        await until(lambda: len(lab.kinds("one")) == 2)
        told = [one for one in lab.publisher.reports if isinstance(one, RejectedCommand)]
        assert [(one.step, one.record, one.message) for one in told] == [
            ("one", "cancel", "it is not signed"), ("one", "cancel", "the key is not trusted"),
        ]  # fmt: skip
        assert lab.agent.running == 1
        lab.cancel("one")
        await until(lambda: lab.kinds("one")[-1] == "cancelled")
        await lab.agent.drain(0, 0)

    asyncio.run(story())


def test_a_refused_secret_is_reported_by_its_path_and_rule() -> None:
    refused = SecretUse("vault/" + "p" * 2_000, "headers", "no-root", "h" * 400, "a" * 400)

    async def act(context: RunContext) -> Outcome:
        return Failure("secret_denied", "It may not be used.", denied=refused)

    async def story() -> None:
        lab = Lab(act)
        lab.begin("one")
        await until(lambda: bool(lab.kinds("one")))
        end = lab.last("one")
        assert isinstance(end, Failed) and end.denied is not None
        assert (end.denied.path, end.denied.address) == (refused.path[:1_200], "a" * 300)
        await lab.agent.drain(0, 0)

    asyncio.run(story())


@pytest.mark.parametrize("stop", ["time limit", "cancel"])
def test_what_ended_before_its_output_was_delivered_is_not_stopped_any_more(stop: str) -> None:
    """The broker is away when the program ends; then the time limit passes, or a cancel comes."""

    async def story() -> None:
        lab = Lab(_writes)
        lab.begin("one", timeout_seconds=0.2 if stop == "time limit" else 60.0)
        await until(lambda: lab.agent._running["one"].performed)
        if stop == "cancel":
            lab.cancel("one")
        else:
            deadline = lab.agent._running["one"].deadline or 0.0
            await until(lambda: clock.monotonic() > deadline + 3 * module.TICK_SECONDS)
        assert lab.kinds("one") == []
        lab.publisher.gate.set()
        await until(lambda: bool(lab.kinds("one")))
        end = lab.last("one")
        assert isinstance(end, Succeeded) and end.output == {"exit_code": 0}
        assert lab.lane.slots.busy() == 0
        await lab.agent.drain(0, 0)

    asyncio.run(story())


def test_a_wait_for_a_target_is_said_and_its_end_too() -> None:
    gate: asyncio.Event

    async def act(context: RunContext) -> Outcome:
        await gate.wait()
        return Success({})

    async def story() -> None:
        nonlocal gate
        gate = asyncio.Event()
        lab = Lab(act, target_concurrency=2)
        for name in ("a", "b", "c", "d"):
            lab.begin(name, target="web-01")
        await until(lambda: bool(lab.kinds("d")))
        messages = {one.step: getattr(one, "message", None) for one in lab.publisher.reports}
        assert messages == {
            "c": "web-01 is busy with 2 other attempts of this executor",
            "d": "web-01 is busy with 2 other attempts of this executor; 1 wait before this one",
        }
        lab.cancel("d")
        await until(lambda: lab.kinds("d") == ["waiting", "cancelled"])
        end = lab.last("d")
        assert isinstance(end, Cancelled) and end.confirmed
        assert end.evidence["began"] is False and end.evidence["effect"] == "none"
        gate.set()
        await until(lambda: lab.kinds("c") == ["waiting", "resumed", "succeeded"])
        await lab.agent.drain(1, 1)

    asyncio.run(story())


def test_a_driver_that_does_not_stop_is_reported_as_unconfirmed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "CLEANUP_SECONDS", 0.1)

    async def story() -> None:
        released = asyncio.Event()

        async def stubborn(context: RunContext) -> Outcome:
            while not released.is_set():
                try:
                    await released.wait()
                except asyncio.CancelledError:
                    continue
            return Success({})

        lab = Lab(stubborn)
        lab.begin("one")
        attempt = lab.agent._running["one"]
        await until(lambda: attempt.began)
        lab.cancel("one", grace_seconds=0.0)
        await until(lambda: bool(lab.kinds("one")))
        end = lab.last("one")
        assert isinstance(end, Cancelled) and not end.confirmed
        assert "clean-up did not end" in end.evidence["cancel_unconfirmed"]
        assert lab.lane.slots.busy() == 0
        released.set()
        assert attempt.task is not None
        await attempt.task
        assert lab.kinds("one") == ["cancelled"]
        await lab.agent.drain(0, 0)

    asyncio.run(story())


def test_a_result_that_cannot_be_made_is_a_failure_and_frees_the_slot() -> None:
    async def odd(context: RunContext) -> Outcome:
        return Success({"output": 1}.keys())  # type: ignore[arg-type]

    async def story() -> None:
        lab = Lab(odd)
        lab.begin("one")
        await until(lambda: bool(lab.kinds("one")))
        end = lab.last("one")
        assert isinstance(end, Failed) and end.error["class"] == "internal"
        assert lab.lane.slots.busy() == 0
        await lab.agent.drain(0, 0)

    asyncio.run(story())
