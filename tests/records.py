"""What a broker really holds: every record of every topic, committed or not."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from streams.topics import all_topics


def every_record(client: Mapping[str, Any]) -> dict[str, list[bytes]]:
    """Of each topic, dead letters too, the values, keys and headers from its first offset on.

    `client` are librdkafka options that lead to the broker.
    """
    consumer = Consumer(
        {
            **client,
            "group.id": "every-record",
            "isolation.level": "read_uncommitted",
            "enable.auto.commit": False,
            "log_level": 0,
        }
    )
    found: dict[str, list[bytes]] = defaultdict(list)
    ends: dict[tuple[str, int], int] = {}
    try:
        known = consumer.list_topics(timeout=20).topics
        for topic in all_topics():
            for number in known[topic.name].partitions:
                place = TopicPartition(topic.name, number)
                low, high = consumer.get_watermark_offsets(place, timeout=20)
                if high > low:
                    ends[topic.name, number] = high
        consumer.assign([TopicPartition(name, number, 0) for name, number in ends])
        while ends:
            message = consumer.poll(1.0)
            if message is None:
                # The last offset of a partition may be the mark of a transaction.
                for place in consumer.position([TopicPartition(*place) for place in ends]):
                    if place.offset >= ends[place.topic, place.partition]:
                        del ends[place.topic, place.partition]
                continue
            assert message.error() is None
            parts = (message.value() or b"", message.key() or b"", repr(message.headers()).encode())
            found[str(message.topic())].extend(parts)
    finally:
        consumer.close()
    return found
