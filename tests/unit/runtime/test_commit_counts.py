"""Counters show what has committed: each decision once, however often it was made."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from prometheus_client import CollectorRegistry, Counter, Histogram

from runtime.kafka.commit_counts import CommitCounts
from runtime.kafka.outcome import Outcome
from streams.topics import EVENTS
from tests.unit.runtime.ledger_partition import FakeBroker, Loop, Totals

OFFSETS = {("requests", 0): 12, ("reports", 0): 7}


class Committed:
    """What the broker has as committed offsets of the group."""

    def __init__(self, *found: tuple[str, int, str], error: KafkaError | None = None) -> None:
        self.found, self.error = found, error

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        if self.error is not None:
            raise KafkaException(self.error)
        return [TopicPartition(topic, 0, offset, mark) for topic, offset, mark in self.found]


class Shown:
    """Counts, and the metrics that they go to."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.counts = CommitCounts()
        self.events = Counter("events", "Events", registry=registry)
        self.seconds = Histogram("seconds", "Seconds", registry=registry)
        self._registry = registry

    def decide(self, events: int) -> None:
        for _ in range(events):
            self.counts.add(self.events)
            self.counts.observe(self.seconds, 0.5)

    @property
    def value(self) -> float:
        counted = self._registry.get_sample_value("events_total")
        assert counted == self._registry.get_sample_value("seconds_count")
        assert counted is not None
        return counted


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_nothing_counts_before_the_commit_and_an_aborted_decision_never(shown: Shown) -> None:
    shown.decide(3)
    assert shown.value == 0
    shown.counts.discard()
    shown.decide(3)
    shown.counts.committed()
    shown.counts.committed()
    assert shown.value == 3


def test_a_transaction_of_unknown_outcome_counts_if_its_mark_is_there(shown: Shown) -> None:
    shown.decide(2)
    shown.counts.unknown("m:4", OFFSETS)
    shown.counts.discard()
    # One of its partitions has been taken over, the other shows what became of it.
    broker: Any = Committed(("requests", 15, "n:1"), ("reports", 7, "m:4 notes"))
    assert shown.counts.settle(broker) and shown.value == 2
    assert shown.counts.settle(broker) and shown.value == 2


def test_it_does_not_count_where_the_offsets_are_still_before_it(shown: Shown) -> None:
    shown.decide(2)
    shown.counts.unknown("m:4", OFFSETS)
    broker: Any = Committed(("requests", 15, "n:1"), ("reports", 5, "m:3"))
    assert shown.counts.settle(broker) and shown.value == 0


def test_where_nobody_can_tell_it_does_not_count_and_that_is_said(shown: Shown) -> None:
    shown.decide(2)
    shown.counts.unknown("m:4", OFFSETS)
    broker: Any = Committed(("requests", 15, "n:1"), ("reports", 9, "n:1"))
    assert not shown.counts.settle(broker) and shown.value == 0


def test_while_the_broker_is_away_the_question_stays(shown: Shown) -> None:
    shown.decide(2)
    shown.counts.unknown("m:4", OFFSETS)
    away: Any = Committed(error=KafkaError(KafkaError._TRANSPORT))
    with pytest.raises(KafkaException):
        shown.counts.settle(away)
    broker: Any = Committed(("requests", 12, "m:4"), ("reports", 7, "m:4"))
    assert shown.counts.settle(broker) and shown.value == 2


@pytest.mark.parametrize(
    ("texts", "refuses"),
    [
        pytest.param([b"a", b"b", b"c"], None, id="all in one transaction"),
        pytest.param([b"a", b"b:handle", b"c"], None, id="one raises and all are decided again"),
        pytest.param([b"a", b"b:flush", b"c"], None, id="one raises when the batch is over"),
        pytest.param([b"a", b"b", b"c"], b"b", id="the broker refuses one"),
    ],
)
def test_the_loop_counts_what_the_topics_hold(
    monkeypatch: pytest.MonkeyPatch, shown: Shown, texts: list[bytes], refuses: bytes | None
) -> None:
    loop = Loop(FakeBroker(refuses=refuses))
    handle = Totals.handle
    made = []

    def counting(self: Totals, message: Any, now: float, out: Any) -> None:
        handle(self, message, now, out)
        made.append(message)
        loop.deciding.counts.add(shown.events)
        loop.deciding.counts.observe(shown.seconds, 0.5)

    monkeypatch.setattr(Totals, "handle", counting)
    loop.decide(texts)
    assert shown.value == len(loop.broker.of(EVENTS.name))
    assert shown.value == 3 or len(made) > shown.value


def test_the_loop_keeps_the_counts_of_a_commit_whose_answer_is_lost(
    monkeypatch: pytest.MonkeyPatch, shown: Shown
) -> None:
    loop = Loop(FakeBroker())
    commit = FakeBroker.commit

    def lost(self: FakeBroker, *given: Any) -> Outcome:
        commit(self, *given)
        return Outcome.UNKNOWN

    monkeypatch.setattr(FakeBroker, "commit", lost)
    monkeypatch.setattr(FakeBroker, "mark", "0:1", raising=False)
    loop.deciding.counts.add(shown.events, 2)
    loop.deciding.counts.observe(shown.seconds, 0.5)
    loop.deciding.counts.observe(shown.seconds, 0.5)
    with pytest.raises(KafkaException):
        loop.decide([b"a", b"b"])
    assert shown.value == 0
    consumer: Any = loop.consumer
    assert loop.deciding.counts.settle(consumer)
    assert shown.value == len(loop.broker.of(EVENTS.name)) == 2
