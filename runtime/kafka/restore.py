"""Reading every committed record of a topic, up to its end at the start.

The end of partition that a reader of committed records gets is the last stable offset, which is
before any transaction that is still open. Read is up to the high watermark at the start:
whatever lies below it is waited for until the broker has committed or aborted it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from runtime import clock
from runtime.kafka import clients
from runtime.settings import CommonSettings
from streams.topics import Topic

#: Longer than a transaction may stay open: the last one of a killed owner must have ended.
NO_PROGRESS_SECONDS: Final = 60.0
_CALL_SECONDS: Final = 10.0
_BATCH: Final = 5_000
_POLL_SECONDS: Final = 0.05


class Unread:
    """The partitions of which a record below the end at the start may still be missing."""

    def __init__(self, ends: dict[int, int]) -> None:
        """`ends` are the high watermarks by partition, uncommitted records included."""
        self._ends = ends
        self._left = {number for number, end in ends.items() if end > 0}

    def __bool__(self) -> bool:
        """Whether there is anything left to read."""
        return bool(self._left)

    def end_reported(self, number: int, offset: int) -> None:
        """The client reports the end of committed records of a partition at `offset`."""
        if offset >= self._ends[number]:
            self._left.discard(number)


def end_offsets(settings: CommonSettings, topic: str, partitions: Sequence[int]) -> dict[int, int]:
    """The high watermarks of partitions of the topic of this full name; raises KafkaException."""
    return {number: high for number, (_, high) in watermarks(settings, topic, partitions).items()}


def watermarks(
    settings: CommonSettings, topic: str, partitions: Sequence[int]
) -> dict[int, tuple[int, int]]:
    """The first offset and the high watermark of each partition of the topic of this full name.

    Raises KafkaException.
    """
    consumer = Consumer(clients.reader(settings, **{"isolation.level": "read_uncommitted"}))
    try:
        return {
            number: consumer.get_watermark_offsets(
                TopicPartition(topic, number), timeout=_CALL_SECONDS
            )
            for number in partitions
        }
    finally:
        consumer.close()


def settled_offsets(
    consumer: Any, topics: Iterable[str], partitions: Sequence[int]
) -> dict[tuple[str, int], int]:
    """The committed offsets of these partitions, 0 where there is none, once none is pending.

    The group's coordinator checks a member's generation once, with the offsets of its transaction.
    A predecessor that passed this check and then stood still may commit after its partitions were
    taken over, and its records may not even have reached the broker yet. The coordinator tells no
    offsets while such a transaction is open (KIP-447), so after this every record of it lies below
    the end of the changelog, and no later transaction of the predecessor is accepted.

    `topics` are full names. Raises KafkaException where it does not end within a minute.
    """
    wanted = [TopicPartition(topic, number) for topic in topics for number in partitions]
    found = consumer.committed(wanted, timeout=NO_PROGRESS_SECONDS)
    for one in found:
        if one.error is not None:
            raise KafkaException(one.error)
    return {(one.topic, one.partition): max(one.offset, 0) for one in found}


def read_to_end(
    settings: CommonSettings,
    topic: str,
    partitions: Sequence[int],
    stop: threading.Event | None = None,
) -> Iterator[Message]:
    """Every committed record of these partitions up to their true end, oldest first in each.

    `topic` is the full name. Ends early where `stop` is set. Raises KafkaException where nothing
    comes for a minute, or where the broker answers with an error that does not pass by itself.
    """
    if not partitions:
        return
    unread = Unread(end_offsets(settings, topic, partitions))
    consumer = Consumer(clients.reader(settings, **clients.ENDS))
    try:
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        patience = clock.monotonic() + NO_PROGRESS_SECONDS
        while unread and not (stop is not None and stop.is_set()):
            for message in consumer.consume(_BATCH, _POLL_SECONDS):
                error = message.error()
                if error is None:
                    patience = clock.monotonic() + NO_PROGRESS_SECONDS
                    yield message
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.end_reported(message.partition() or 0, message.offset() or 0)
                elif not error.retriable():
                    raise KafkaException(error)
            if clock.monotonic() > patience:
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, f"{topic}: reading does not reach the end")
                )
    finally:
        consumer.close()


def read_changelog(
    settings: CommonSettings, topic: Topic, partitions: Sequence[int]
) -> Iterator[tuple[int, bytes, bytes | None]]:
    """Every (partition, key, value) of a changelog, oldest first within a partition."""
    for message in read_to_end(settings, clients.topic_name(settings, topic), partitions):
        yield message.partition() or 0, message.key() or b"", message.value()
