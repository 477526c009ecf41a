"""The producer bridge on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from runtime.kafka import clients
from runtime.kafka.publisher import DeliveryError, Publisher, PublisherFull
from runtime.settings import ExecutorSettings
from streams.topics import REPORTS
from tests.brokers import client_options, kafka_options


def options(bootstrap: str) -> clients.Options:
    return clients.producer(
        ExecutorSettings(
            environment="dev", bootstrap_servers=bootstrap, kafka_options=kafka_options(bootstrap)
        )
    )


def read(bootstrap: str, topic: str, count: int) -> list[Message]:
    consumer = Consumer(
        {**client_options(bootstrap), "group.id": "test", "enable.auto.commit": False}
    )
    consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(8)])
    found: list[Message] = []
    while len(found) < count:
        more = consumer.consume(count, 5.0)
        assert more, f"{len(found)} of {count}"
        found += more
    consumer.close()
    return found


def test_messages_arrive_once_in_order_with_their_headers(
    kafka: str, topics: Callable[..., str]
) -> None:
    topic = topics(REPORTS) + REPORTS.name
    headers = [("ce_id", b"1"), ("content-type", b"application/json")]

    async def story() -> None:
        publisher = Publisher(options(kafka), max_in_flight=100)
        await asyncio.gather(
            *(publisher.publish(topic, b"key", b"%d" % n, headers) for n in range(1_000))
        )
        assert publisher.in_flight == 0
        assert await publisher.close(5) == 0

    asyncio.run(story())
    messages = read(kafka, topic, 1_000)
    assert [int(message.value() or b"") for message in messages] == list(range(1_000))
    assert messages[0].headers() == headers


def test_too_much_in_flight_is_refused_and_room_is_told(
    kafka: str, topics: Callable[..., str]
) -> None:
    topic = topics(REPORTS) + REPORTS.name

    async def story() -> None:
        publisher = Publisher(options(kafka), max_in_flight=10, max_bytes=1_000)
        for _ in range(10):
            publisher.publish_soon(topic, b"k", b"v", [])
        with pytest.raises(PublisherFull):
            publisher.publish_soon(topic, b"k", b"v", [])
        await publisher.room()
        publisher.publish_soon(topic, b"k", b"v" * 2_000, [])
        with pytest.raises(PublisherFull):
            publisher.publish_soon(topic, b"k", b"v", [])
        assert await publisher.flush(10) == 0
        await publisher.close(5)

    asyncio.run(story())
    assert len(read(kafka, topic, 11)) == 11


def test_a_message_that_is_too_large_is_an_error_and_others_go_on(
    kafka: str, topics: Callable[..., str]
) -> None:
    topic = topics(REPORTS) + REPORTS.name

    async def story() -> None:
        publisher = Publisher(options(kafka))
        with pytest.raises(DeliveryError) as local:
            await publisher.publish(topic, b"k", b"x" * 5_000_000, [])
        assert local.value.name == "MSG_SIZE_TOO_LARGE"
        with pytest.raises(DeliveryError) as remote:
            await publisher.publish(topic, b"k", b"\x00" * 100 + _noise(3_000_000), [])
        assert remote.value.name == "MSG_SIZE_TOO_LARGE"
        told: list[DeliveryError | None] = []
        publisher.publish_soon(topic, b"k", b"fine", [], told.append)
        assert await publisher.close(10) == 0
        assert told == [None] and publisher.in_flight == 0

    asyncio.run(story())
    assert [message.value() for message in read(kafka, topic, 1)] == [b"fine"]


def _noise(length: int) -> bytes:
    """Bytes that do not compress."""
    import random

    return random.Random(1).randbytes(length)


def test_what_the_broker_never_took_is_counted_at_the_end() -> None:
    async def story() -> None:
        away = options("127.0.0.1:1") | {"log_level": 0}
        publisher = Publisher(away)
        publisher.publish_soon("t", b"k", b"v", [])
        waiting = asyncio.create_task(publisher.publish("t", b"k", b"v", []))
        assert await publisher.flush(0.2) == 2
        assert not waiting.done()
        assert await publisher.close(0.1) == 2
        waiting.cancel()

    asyncio.run(story())
