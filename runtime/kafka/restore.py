"""Reading a changelog: every record of some partitions, up to what is committed now."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from runtime import clock
from runtime.kafka import clients
from runtime.settings import CommonSettings
from streams.topics import Topic

#: Longer than a transaction may stay open: the last one of a killed owner must have ended.
PATIENCE_SECONDS: Final = 60.0


def read_changelog(
    settings: CommonSettings, topic: Topic, partitions: Sequence[int]
) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Every (partition, key, value), oldest first within a partition.

    It reads to the true end of the log, also where a transaction of the previous owner is still
    open there: the records behind it are waited for until the broker has ended it. Raises
    KafkaException where that takes longer than a minute without any progress.
    """
    if not partitions:
        return
    name = clients.topic_name(settings, topic)
    ends = _ends(settings, name, partitions)
    waiting = {number for number in partitions if ends[number] > 0}
    consumer = Consumer(
        clients.consumer(
            settings, f"{settings.instance}-changelog", **{"enable.partition.eof": True}
        )
    )
    try:
        consumer.assign([TopicPartition(name, number, 0) for number in waiting])
        patience = clock.monotonic() + PATIENCE_SECONDS
        while waiting:
            for message in consumer.consume(5_000, 0.05):
                number, error = message.partition() or 0, message.error()
                if error is None:
                    patience = clock.monotonic() + PATIENCE_SECONDS
                    yield number, message.key() or b"", message.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    if (message.offset() or 0) >= ends[number]:
                        waiting.discard(number)
                elif not error.retriable():
                    raise KafkaException(error)
            if clock.monotonic() > patience:
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, f"{name}: the changelog does not end")
                )
    finally:
        consumer.close()


def _ends(settings: CommonSettings, name: str, partitions: Sequence[int]) -> dict[int, int]:
    """The high watermarks, uncommitted records included."""
    consumer = Consumer(
        clients.consumer(
            settings,
            f"{settings.instance}-changelog",
            **{"isolation.level": "read_uncommitted"},
        )
    )
    try:
        return {
            number: consumer.get_watermark_offsets(TopicPartition(name, number), timeout=10)[1]
            for number in partitions
        }
    finally:
        consumer.close()
