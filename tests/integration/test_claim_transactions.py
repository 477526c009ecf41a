"""A transaction on a real broker: all of it or none, and whose commit it was."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import Consumer, TopicPartition

from runtime.kafka import clients
from runtime.kafka.broker_clock import BrokerClock
from runtime.kafka.outcome import Outcome
from runtime.kafka.restore import read_to_end
from runtime.kafka.transaction import Transactions
from runtime.settings import ExecutorSettings
from streams.topics import REPORTS, STEPS
from tests.brokers import kafka_options

BULK = STEPS["test", "bulk"]
#: Topic, key, value, headers and perhaps partition.
Report = tuple[Any, ...]


def lane(bootstrap: str, name: str, clock_of: BrokerClock | None = None) -> Transactions:
    settings = ExecutorSettings(
        environment="dev", bootstrap_servers=bootstrap, kafka_options=kafka_options(bootstrap)
    )
    made = Transactions(clients.transactional(settings, name), clock_of=clock_of)
    assert made.open()
    return made


def member(bootstrap: str, topic: str, **options: Any) -> Consumer:
    settings = ExecutorSettings(
        environment="dev", bootstrap_servers=bootstrap, kafka_options=kafka_options(bootstrap)
    )
    consumer = Consumer(clients.consumer(settings, f"{topic}-group", **options))
    consumer.subscribe([topic])
    deadline = time.monotonic() + 30
    while not consumer.assignment():
        assert time.monotonic() < deadline
        consumer.poll(0.1)
    return consumer


def commit(
    claims: Transactions, report: Report, offsets: dict[tuple[str, int], int], consumer: Consumer
) -> Outcome:
    claims.send_named(*report)
    return claims.commit(offsets, consumer)


def committed(consumer: Consumer, topic: str) -> int:
    (place,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    return place.offset


def test_a_commit_can_be_proved_by_the_next_producer(
    kafka: str, topics: Callable[..., str]
) -> None:
    prefix = topics(BULK, REPORTS)
    topic = prefix + BULK.name
    report: Report = (prefix + REPORTS.name, b"k", b"v", [("ce_id", b"1")])
    consumer = member(kafka, topic)
    first = lane(kafka, f"{prefix}a")
    offsets = {(topic, 0): 7}
    assert commit(first, report, offsets, consumer) is Outcome.COMMITTED
    assert committed(consumer, topic) == 7
    # As after a commit whose answer was lost: a new producer of the same name asks.
    assert first.open()
    assert first.was_committed(offsets, consumer)
    assert not first.was_committed({(topic, 0): 8}, consumer)
    # The same offset, committed by somebody else, proves nothing.
    other = lane(kafka, f"{prefix}b")
    assert commit(other, report, offsets, consumer) is Outcome.COMMITTED
    assert not first.was_committed(offsets, consumer)
    consumer.close()


def test_an_older_producer_of_the_name_commits_nothing(
    kafka: str, topics: Callable[..., str]
) -> None:
    prefix = topics(BULK, REPORTS)
    topic = prefix + BULK.name
    report: Report = (prefix + REPORTS.name, b"k", b"v", [])
    consumer = member(kafka, topic)
    older = lane(kafka, f"{prefix}a")
    newer = lane(kafka, f"{prefix}a")
    assert commit(older, report, {(topic, 0): 3}, consumer) is not Outcome.COMMITTED
    assert older.last_error is not None
    assert commit(newer, report, {(topic, 0): 5}, consumer) is Outcome.COMMITTED
    assert committed(consumer, topic) == 5
    consumer.close()


def test_a_record_that_the_broker_refuses_takes_its_offset_with_it(
    kafka: str, topics: Callable[..., str]
) -> None:
    prefix = topics(BULK, REPORTS)
    topic = prefix + BULK.name
    consumer = member(kafka, topic)
    claims = lane(kafka, f"{prefix}a")
    too_large: Report = (prefix + REPORTS.name, b"k", os.urandom(3 * 1024 * 1024), [])
    outcome = commit(claims, too_large, {(topic, 0): 3}, consumer)
    assert outcome is Outcome.FENCED, claims.last_error
    assert claims.refused_record is not None
    assert committed(consumer, topic) < 0
    assert claims.open()
    fine: Report = (prefix + REPORTS.name, b"k", b"v", [])
    assert commit(claims, fine, {(topic, 0): 3}, consumer) is Outcome.COMMITTED
    consumer.close()


def test_a_member_that_lost_its_session_commits_nothing(
    kafka: str, topics: Callable[..., str]
) -> None:
    prefix = topics(BULK, REPORTS)
    topic = prefix + BULK.name
    limits = {"max.poll.interval.ms": 6_000, "session.timeout.ms": 6_000}
    consumer = member(kafka, topic, **limits)
    claims = lane(kafka, f"{prefix}a")
    deadline = time.monotonic() + 30
    while consumer.memberid():
        assert time.monotonic() < deadline
        time.sleep(0.2)
    successor = member(kafka, topic)
    report: Report = (prefix + REPORTS.name, b"k", b"v", [])
    assert commit(claims, report, {(topic, 0): 3}, consumer) is Outcome.ABORTED
    assert committed(successor, topic) < 0
    successor.close()
    consumer.close()


def test_the_broker_time_shows_how_far_a_clock_is_off(
    kafka: str, topics: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    prefix = topics(REPORTS)
    broker = BrokerClock()
    claims = lane(kafka, f"{prefix}a", broker)
    claims.measure_clock(prefix + REPORTS.name)
    assert broker.ahead_seconds == 0.0
    monkeypatch.setattr("runtime.clock.now", lambda: time.time() + 3_600)
    claims.measure_clock(prefix + REPORTS.name)
    assert 3_590 < broker.ahead_seconds < 3_610
    # Nothing of it is ever read.
    settings = ExecutorSettings(
        environment="dev", bootstrap_servers=kafka, kafka_options=kafka_options(kafka)
    )
    numbers = range(REPORTS.partitions)
    assert not list(read_to_end(settings, prefix + REPORTS.name, numbers))
