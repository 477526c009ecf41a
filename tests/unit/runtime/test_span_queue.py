"""Spans that wait: bounded, counted, and never waited for by whoever adds one."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import structlog

from runtime.span_queue import SPANS, SpanQueue
from runtime.spans import Span
from streams.trace_context import NO_SPAN, TraceContext


class Receiver:
    """A fake receiver: takes a request when `open` is set, and refuses it while it is `away`."""

    def __init__(self) -> None:
        self.taken: list[Span] = []
        self.requests: list[int] = []
        self.asked = threading.Event()
        self.open = threading.Event()
        self.open.set()
        self.away = False

    def export(self, spans: Sequence[Span]) -> bool:
        self.asked.set()
        self.open.wait(30)
        if self.away:
            return False
        self.requests.append(len(spans))
        self.taken += spans
        return True

    def shutdown(self) -> None:
        """Nothing is tried again here."""


def span(number: int = 0) -> Span:
    return Span(str(number), TraceContext("a" * 32, "b" * 16, True), NO_SPAN, "internal", 1, 2)


class Counted:
    """What was counted since it was made."""

    def __init__(self) -> None:
        self._before = self._now()

    def _now(self) -> dict[str, float]:
        (family,) = SPANS.collect()
        return {one.labels["outcome"]: one.value for one in family.samples
                if one.name.endswith("_total")}  # fmt: skip

    def changed(self) -> dict[str, float]:
        now = self._now()
        return {
            name: now[name] - self._before[name] for name in now if now[name] > self._before[name]
        }


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    made = Receiver()
    yield made
    made.open.set()


class Lines:
    """Keeps what is logged."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def warning(self, event: str, **fields: object) -> None:
        self.said.append(event)

    info = warning


def queue(
    receiver: Receiver,
    most: int = 100,
    batch: int = 10,
    delay: float = 0.01,
    log: Any = structlog.get_logger(),  # noqa: B008
) -> SpanQueue:
    return SpanQueue(receiver, log, most, batch, delay)


def test_all_that_was_added_before_the_stop_is_sent_in_bounded_requests(receiver: Receiver) -> None:
    counted, made = Counted(), queue(receiver, delay=60)
    made.add([span(number) for number in range(35)])
    made.close(10)
    assert [one.name for one in receiver.taken] == [str(number) for number in range(35)]
    assert max(receiver.requests) <= 10
    assert counted.changed() == {"exported": 35}


def test_a_receiver_that_hangs_costs_spans_and_no_time(receiver: Receiver) -> None:
    counted, made = Counted(), queue(receiver, most=20)
    receiver.open.clear()
    made.add([span()])
    assert receiver.asked.wait(10)
    began = time.monotonic()
    for number in range(1_000):
        made.add([span(number)])
    assert time.monotonic() - began < 1
    began = time.monotonic()
    made.close(0.2)
    assert time.monotonic() - began < 2
    # One is in the request that hangs.
    assert counted.changed() == {"dropped_full": 980, "dropped_stopped": 20}
    made.add([span()])
    assert counted.changed()["dropped_stopped"] == 21
    # Its thread would count in the next test.
    receiver.open.set()
    made._thread.join(10)


def test_a_receiver_that_is_away_is_said_once_and_counted(receiver: Receiver) -> None:
    lines = Lines()
    counted, made = Counted(), queue(receiver, log=lines)
    receiver.away = True
    for _ in range(3):
        receiver.asked.clear()
        made.add([span()])
        assert receiver.asked.wait(10)
    receiver.away = False
    made.add([span()])
    made.close(10)
    assert lines.said.count("spans cannot be exported") == 1
    assert lines.said.count("spans are exported again") <= 1
    changed = counted.changed()
    assert sum(changed.values()) == 4 and changed["dropped_failed"] >= 2
