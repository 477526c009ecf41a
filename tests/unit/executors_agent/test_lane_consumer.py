"""The consumer of a lane: a group's member with bounded memory that knows what was claimed."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition

from processors.executors import lane_consumer
from processors.executors.claimed_offsets import ClaimedOffsets
from processors.executors.lane_consumer import LaneConsumer
from tests.unit.executors_agent.waiting_commands import TOPIC, waiting

ONE, TWO = TopicPartition(TOPIC, 0), TopicPartition(TOPIC, 1)


class FakeClient:
    """A fake client with an endless partition 0, and perhaps others; all of one priority."""

    def __init__(self, chosen: Any) -> None:
        self.position = 0
        self.most = 10**9
        self.paused = False
        self.known: dict[int, TopicPartition] = {}
        self.asked: list[list[int]] = []
        self.answers = True
        #: Called in the middle of the next `consume`.
        self.meanwhile: Any = None
        self.callbacks: dict[str, Any] = {}
        self.assigned: list[TopicPartition] = []

    def subscribe(self, topics: list[str], **callbacks: Any) -> None:
        self.callbacks = callbacks
        self.assign(ONE)

    def assign(self, *partitions: TopicPartition) -> None:
        self.callbacks["on_assign"](self, [*partitions])

    def revoke(self, *partitions: TopicPartition) -> None:
        self.callbacks["on_revoke"](self, [*partitions])

    def incremental_assign(self, partitions: list[TopicPartition]) -> None:
        self.assigned += partitions

    def incremental_unassign(self, partitions: list[TopicPartition]) -> None:
        self.assigned = [one for one in self.assigned if one not in partitions]

    def assignment(self) -> list[TopicPartition]:
        return self.assigned

    def committed(self, partitions: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if not self.answers:
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        self.asked.append(sorted(one.partition for one in partitions))
        return [self.known.get(one.partition, one) for one in partitions]

    def seek(self, place: TopicPartition) -> None:
        self.position = max(place.offset, 0)

    def pause(self, partitions: list[Any]) -> None:
        self.paused = True

    def resume(self, partitions: list[Any]) -> None:
        self.paused = False

    def poll(self, timeout: float) -> Any:
        if self.paused or self.position >= self.most:
            return None
        self.position += 1
        return waiting(self.position - 1)

    def consume(self, count: int, timeout: float) -> list[Any]:
        first = [record for _ in range(count // 2) if (record := self.poll(timeout)) is not None]
        if self.meanwhile is not None:
            meanwhile, self.meanwhile = self.meanwhile, None
            meanwhile()
        rest = range(count - count // 2)
        return first + [record for _ in rest if (record := self.poll(timeout)) is not None]


@pytest.fixture
def consumer(monkeypatch: pytest.MonkeyPatch) -> LaneConsumer:
    monkeypatch.setattr(lane_consumer, "Consumer", FakeClient)
    return LaneConsumer({}, TOPIC, lambda error: None)


def took(consumer: LaneConsumer, count: int) -> list[int]:
    """What a lane with so many free slots claims next."""
    consumer.read(count, count, 0.5)
    return [message.offset() or 0 for message in consumer.take(count, 1.0)]


def test_a_full_lane_polls_on_keeps_a_bounded_number_and_loses_none(
    consumer: LaneConsumer, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [0.0]
    monkeypatch.setattr("runtime.clock.monotonic", lambda: now[0])
    client: Any = consumer.client
    taken = took(consumer, 1)
    assert client.position == 4_001
    for _ in range(10):
        now[0] += 5.0
        consumer.keep_alive()
    assert client.position == 4_011 and not client.paused
    for _ in range(2_000):
        now[0] += 5.0
        consumer.keep_alive()
    assert client.paused and client.position < 5_000
    while len(taken) < 9_000:
        taken += took(consumer, 32)
    assert taken == list(range(len(taken)))
    assert not client.paused and client.position <= len(taken) + 4_500


def test_a_lane_with_a_slot_for_each_reads_nothing_ahead(consumer: LaneConsumer) -> None:
    client: Any = consumer.client
    client.most = 20
    assert took(consumer, 32) == [*range(20)]
    client.most = 10_000
    consumer.read(500, 1_024, 0.5)
    assert client.position == 520


def test_it_skips_what_an_earlier_owner_has_claimed(consumer: LaneConsumer) -> None:
    client: Any = consumer.client
    beyond = ClaimedOffsets(3)
    for offset in (4, 5, 7):
        beyond.add(offset)
    client.position = 3
    client.known[0] = TopicPartition(TOPIC, 0, 3, f"mark:1 {beyond.note()}")
    client.most = 12
    assert took(consumer, 4) + took(consumer, 4) == [3, 6, 8, 9, 10, 11]
    assert client.asked == [[0]]
    offsets, notes = consumer.claims([waiting(11)])
    assert offsets == {(TOPIC, 0): 12} and not notes


def test_nothing_is_claimed_before_it_is_known_what_was(consumer: LaneConsumer) -> None:
    client: Any = consumer.client
    client.answers = False
    for _ in range(3):
        with pytest.raises(KafkaException):
            consumer.read(5, 5, 0.5)
        assert consumer.take(5, 1.0) == []
    client.answers = True
    assert took(consumer, 100) == [*range(100)]


def test_after_a_claim_that_was_not_committed_it_reads_again(consumer: LaneConsumer) -> None:
    client: Any = consumer.client
    assert took(consumer, 5) == [*range(5)]
    client.known[0] = TopicPartition(TOPIC, 0, 2, "mark:1")
    consumer.rewind()
    assert took(consumer, 5) == [*range(2, 7)]


def test_a_partition_that_was_lost_is_asked_about_again(consumer: LaneConsumer) -> None:
    client: Any = consumer.client
    took(consumer, 5)
    client.revoke(ONE)
    assert consumer.take(5, 1.0) == []
    client.position = 9
    client.known[0] = TopicPartition(TOPIC, 0, 9, "other:1")
    client.assign(ONE, TWO)
    assert took(consumer, 2) == [9, 10]
    assert client.asked == [[0], [0, 1]]


def test_what_was_collected_of_a_partition_before_it_was_lost_is_not_claimed(
    consumer: LaneConsumer,
) -> None:
    client: Any = consumer.client
    client.most = 5
    assert took(consumer, 5) == [*range(5)]
    client.most = 1_000

    def lose() -> None:
        client.revoke(ONE)
        client.most = client.position

    client.meanwhile = lose
    consumer.read(10, 10, 0.5)
    assert consumer.take(10, 1.0) == []


def test_what_is_lost_and_comes_back_in_one_call_is_read_again(consumer: LaneConsumer) -> None:
    client: Any = consumer.client
    client.most = 5
    assert took(consumer, 5) == [*range(5)]
    client.most = 1_000

    def move() -> None:
        client.revoke(ONE)
        client.known[0] = TopicPartition(TOPIC, 0, 5, "mark:1")
        client.assign(ONE)

    client.meanwhile = move
    taken: list[int] = []
    while len(taken) < 30:
        taken += took(consumer, 10)
    assert taken == [*range(5, 5 + len(taken))]
