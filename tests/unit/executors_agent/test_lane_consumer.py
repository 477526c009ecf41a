"""The consumer of a lane without free slots: a member of its group, with bounded memory."""

from __future__ import annotations

from typing import Any

import pytest

from processors.executors import lane_consumer
from processors.executors.lane_consumer import LaneConsumer


class Record:
    """A fake record of the only partition."""

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def error(self) -> None:
        return None

    def offset(self) -> int:
        return self._offset


class FakeClient:
    """A fake client with an endless partition."""

    def __init__(self, chosen: Any) -> None:
        self.position = 0
        self.paused = False

    def subscribe(self, topics: list[str], **callbacks: Any) -> None: ...

    def assignment(self) -> list[Any]:
        return []

    def pause(self, partitions: list[Any]) -> None:
        self.paused = True

    def resume(self, partitions: list[Any]) -> None:
        self.paused = False

    def poll(self, timeout: float) -> Record | None:
        if self.paused:
            return None
        self.position += 1
        return Record(self.position - 1)

    def consume(self, count: int, timeout: float) -> list[Record]:
        return [record for _ in range(count) if (record := self.poll(timeout)) is not None]


def test_a_full_lane_polls_on_keeps_a_bounded_number_and_loses_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(lane_consumer, "Consumer", FakeClient)
    monkeypatch.setattr("runtime.clock.monotonic", lambda: now[0])
    consumer = LaneConsumer({}, "steps.test.bulk", lambda error: None)
    client: Any = consumer.client
    for _ in range(10):
        now[0] += 5.0
        consumer.keep_alive()
    assert client.position == 10 and not client.paused
    for _ in range(2_000):
        now[0] += 5.0
        consumer.keep_alive()
    assert client.paused and client.position < 1_000
    taken: list[int] = []
    while len(taken) < 2_000:
        taken += [message.offset() or 0 for message in consumer.take(32, 0.5)]
    assert taken == list(range(len(taken)))
    assert not client.paused
