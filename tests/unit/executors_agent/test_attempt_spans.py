"""Spans of attempts: below the command's own, with what drivers did, and none where it is off."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from drivers.context import Failure, Outcome, RunContext, Success
from drivers.spans import traced
from processors.executors import attempt_spans
from processors.executors.claim import Place, Start
from processors.executors.lane import Claimed
from runtime import clock, recording, tracing
from runtime.recording import MAX_CHILDREN, UNRECORDED
from runtime.spans import Span
from runtime.trace_settings import TraceSettings
from streams.trace_context import NO_SPAN
from tests.driver_kit import command, until
from tests.unit.executors_agent.test_agent import Lab
from toolmeta.invocation import Invocation

TRACE, SENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
HEADER = f"00-{TRACE}-{SENT}-01".encode()
PLACE = Place("p.steps.test", 3, 42, "p.runstream-executor-test-bulk")


class Kept(tracing.Traces):
    """Traces that are kept here instead of being sent."""

    def __init__(self) -> None:
        super().__init__(TraceSettings(), "one", "executor", structlog.get_logger())
        self.spans: list[Span] = []

    def add(self, *spans: Span) -> None:
        self.spans += spans


@pytest.fixture
def kept() -> Iterator[Kept]:
    made = Kept()
    tracing._process.traces = made
    yield made
    tracing._process.traces = None


def run(act: Any, header: bytes | None = HEADER) -> None:
    """Run one attempt to its reported end."""

    async def story() -> None:
        lab = Lab(act)
        start = Start(command(step="one"), "one", Invocation("any", "fake"))
        lab.lane.slots.acquire(1)
        claimed = Claimed(start, header, clock.monotonic(), PLACE)
        lab.agent.begin(lab.lane, [claimed])
        await until(lambda: bool(lab.kinds("one")))

    asyncio.run(story())


async def _asks(context: RunContext) -> Outcome:
    async def ask() -> Failure:
        return Failure("http_status", "The key is secret-1234.")

    await traced(ask(), "GET", {"server.address": "web-01", "server.port": None})
    return Success({})


def test_an_attempt_and_what_it_did_are_one_tree(kept: Kept) -> None:
    run(_asks)
    own, asked = kept.spans
    assert (own.name, own.kind, own.parent) == ("process p.steps.test", "consumer", SENT)
    assert own.context.trace_id == TRACE and own.fault is None
    assert own.attributes["messaging.destination.partition.id"] == "3"
    assert own.attributes["messaging.kafka.offset"] == 42
    assert own.attributes["messaging.consumer.group.name"] == PLACE.group
    assert (asked.name, asked.kind, asked.parent) == ("GET", "client", own.context.span_id)
    assert asked.attributes == {"server.address": "web-01"}
    assert asked.fault is not None and (asked.fault.error_class, asked.fault.message) == (
        "http_status", ""
    )  # fmt: skip
    assert own.start_ns <= asked.start_ns <= asked.end_ns <= own.end_ns


def test_a_failure_has_its_class(kept: Kept) -> None:
    async def fails(context: RunContext) -> Outcome:
        return Failure("no_answer", "It does not answer.")

    run(fails)
    (own,) = kept.spans
    assert own.fault is not None
    assert (own.fault.error_class, own.fault.message) == ("no_answer", "It does not answer.")


def test_of_an_exception_only_the_type_is_said(kept: Kept) -> None:
    async def breaks(context: RunContext) -> Outcome:
        with recording.child("SELECT"):
            raise KeyError("password=hunter2")

    run(breaks)
    own, child = kept.spans
    assert child.fault is not None and child.fault.error_class == "KeyError"
    assert own.fault is not None and own.fault.error_class == "internal"
    assert "hunter2" not in repr(kept.spans)


def test_a_tool_that_asks_page_by_page_makes_a_bounded_number(kept: Kept) -> None:
    async def asks(context: RunContext) -> Outcome:
        for _ in range(1_000):
            with recording.child("GET"):
                pass
        return Success({})

    run(asks)
    assert len(kept.spans) == 1 + MAX_CHILDREN
    assert kept.spans[0].attributes["runstream.spans_left_out"] == 1_000 - MAX_CHILDREN
    assert len({span.context.span_id for span in kept.spans}) == len(kept.spans)


@pytest.mark.parametrize("header", [None, HEADER[:-2] + b"00"])
def test_an_attempt_that_is_not_recorded_makes_none(kept: Kept, header: bytes | None) -> None:
    seen: list[object] = []

    async def looks(context: RunContext) -> Outcome:
        seen.append(recording.child("GET"))
        return Success({})

    run(looks, header)
    assert kept.spans == [] and seen == [UNRECORDED]


def test_where_traces_are_off_there_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing.active() is None
    seen: list[object] = []

    async def looks(context: RunContext) -> Outcome:
        seen.append(recording.child("GET"))
        return Success({})

    run(looks)
    assert seen == [UNRECORDED]


def test_a_claim_of_many_is_linked_to_each_that_is_recorded(kept: Kept) -> None:
    def sent(number: int, flag: str = "01") -> bytes:
        return f"00-{number:032x}-{number:016x}-{flag}".encode()

    start = Start(command(step="one"), "one", Invocation("any", "fake"))
    starts = [(start, sent(1), PLACE), (start, sent(2), PLACE), (start, sent(3, "00"), PLACE)]
    attempt_spans.claimed([*starts, (start, None, None)], 0.25)
    (claim,) = kept.spans
    assert (claim.name, claim.parent) == ("receive p.steps.test", NO_SPAN)
    assert [link.span_id for link in claim.links] == [f"{1:016x}", f"{2:016x}"]
    assert claim.attributes["messaging.batch.message_count"] == 4
    assert claim.end_ns - claim.start_ns == 250_000_000
    many = [(start, sent(number), PLACE) for number in range(1, 501)]
    attempt_spans.claimed(many, 0.25)
    assert len(kept.spans[-1].links) == 128
