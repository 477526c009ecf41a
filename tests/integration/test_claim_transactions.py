"""The claim transaction on a real broker: all of it or none, and whose commit it was."""

from __future__ import annotations

from collections.abc import Callable

from confluent_kafka import Consumer, TopicPartition

from processors.executors.transaction import ClaimTransactions, Outcome, Output
from runtime.kafka import clients
from runtime.settings import ExecutorSettings
from streams.topics import REPORTS, STEPS

BULK = STEPS["test", "bulk"]


def lane(bootstrap: str, name: str) -> ClaimTransactions:
    settings = ExecutorSettings(bootstrap_servers=bootstrap)
    made = ClaimTransactions(clients.transactional(settings, name))
    assert made.open()
    return made


def member(bootstrap: str, topic: str) -> Consumer:
    settings = ExecutorSettings(bootstrap_servers=bootstrap)
    consumer = Consumer(clients.consumer(settings, f"{topic}-group"))
    consumer.assign([TopicPartition(topic, 0)])
    return consumer


def committed(consumer: Consumer, topic: str) -> int:
    (place,) = consumer.committed([TopicPartition(topic, 0)], timeout=10)
    return place.offset


def test_a_commit_can_be_proved_by_the_next_producer(
    kafka: str, topics: Callable[..., str]
) -> None:
    prefix = topics(BULK, REPORTS)
    topic = prefix + BULK.name
    report = Output(prefix + REPORTS.name, b"k", b"v", [("ce_id", b"1")])
    consumer = member(kafka, topic)
    first = lane(kafka, f"{prefix}a")
    offsets = {(topic, 0): 7}
    assert first.commit([report], offsets, consumer) is Outcome.COMMITTED
    assert committed(consumer, topic) == 7
    # As after a commit whose answer was lost: a new producer of the same name asks.
    assert first.open()
    assert first.was_committed(offsets, consumer)
    assert not first.was_committed({(topic, 0): 8}, consumer)
    # The same offset, committed by somebody else, proves nothing.
    other = lane(kafka, f"{prefix}b")
    assert other.commit([report], offsets, consumer) is Outcome.COMMITTED
    assert not first.was_committed(offsets, consumer)
    consumer.close()


def test_an_older_producer_of_the_name_commits_nothing(
    kafka: str, topics: Callable[..., str]
) -> None:
    prefix = topics(BULK, REPORTS)
    topic = prefix + BULK.name
    report = Output(prefix + REPORTS.name, b"k", b"v", [])
    consumer = member(kafka, topic)
    older = lane(kafka, f"{prefix}a")
    newer = lane(kafka, f"{prefix}a")
    assert older.commit([report], {(topic, 0): 3}, consumer) is not Outcome.COMMITTED
    assert older.last_error is not None
    assert newer.commit([report], {(topic, 0): 5}, consumer) is Outcome.COMMITTED
    assert committed(consumer, topic) == 5
    consumer.close()


def test_a_record_that_the_broker_refuses_takes_its_offset_with_it(
    kafka: str, topics: Callable[..., str]
) -> None:
    prefix = topics(BULK, REPORTS)
    topic = prefix + BULK.name
    consumer = member(kafka, topic)
    claims = lane(kafka, f"{prefix}a")
    unknown = Output(prefix + REPORTS.name, b"k", b"v", [], 99)
    outcome = claims.commit([unknown], {(topic, 0): 3}, consumer)
    assert outcome in (Outcome.ABORTED, Outcome.FENCED)
    assert committed(consumer, topic) < 0
    if not claims.is_open:
        assert claims.open()
    fine = Output(prefix + REPORTS.name, b"k", b"v", [])
    assert claims.commit([fine], {(topic, 0): 3}, consumer) is Outcome.COMMITTED
    consumer.close()
