"""The offsets of a transaction: the mark of their commit, and the group membership."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

#: The next offset to read, per topic name and partition.
Offsets = Mapping[tuple[str, int], int]
#: What is written with an offset, after the mark; without a space.
Notes = Mapping[tuple[str, int], str]

_CALL_SECONDS: Final = 10.0


class CommitMark:
    """The metadata of committed offsets; unique per producer and transaction."""

    def __init__(self) -> None:
        """Marks differ between processes and between the producers of one process."""
        self._producer = secrets.token_hex(6)
        self._count = 0

    def __str__(self) -> str:
        """The mark of the latest transaction."""
        return f"{self._producer}:{self._count}"

    def next(self, offsets: Offsets, notes: Notes) -> list[TopicPartition]:
        """The offsets of the next transaction, marked and with their notes."""
        self._count += 1
        mark = str(self)
        return [
            TopicPartition(*where, offset, f"{mark} {notes[where]}" if where in notes else mark)
            for where, offset in offsets.items()
        ]

    def is_on(self, offsets: Offsets, consumer: Consumer) -> bool:
        """Whether exactly these offsets are committed with the latest mark.

        Raises KafkaException where the broker does not respond.
        """
        partitions = [TopicPartition(*where) for where in offsets]
        found = consumer.committed(partitions, timeout=_CALL_SECONDS)
        return all(
            one.error is None
            and one.offset == offsets[one.topic, one.partition]
            and (one.metadata or "").partition(" ")[0] == str(self)
            for one in found
        )


def note_of(committed: TopicPartition) -> str:
    """The note with which this offset was committed; empty where there is none."""
    return (committed.metadata or "").partition(" ")[2]


def marked(offsets: Offsets, text: str) -> list[TopicPartition]:
    """The offsets with this text as their metadata."""
    return [TopicPartition(*where, offset, text) for where, offset in offsets.items()]


def membership(consumer: Consumer) -> Any:
    """The consumer's membership, for the check of its generation.

    A member that lost its session has no generation and no member id until it joins again, and
    offsets without either may be taken for those of a consumer outside any group: unchecked.
    """
    metadata = consumer.consumer_group_metadata()
    if not consumer.memberid():
        raise KafkaException(
            KafkaError(KafkaError.UNKNOWN_MEMBER_ID, "the consumer has lost its session")
        )
    return metadata
