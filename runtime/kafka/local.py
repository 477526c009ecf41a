"""Local records: decided about in the transaction that sends them, without the broker.

A record for a source partition that this process has need not be written and read again: the state
that it changes, and what follows from it, is committed with what it follows from. Records that lie
in the topic may then be overtaken, so a topic is delivered locally only where its readers do not
care about the order of its records.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Message

from runtime.kafka.crashes import BATCH_RECORDS
from runtime.kafka.partition import Output, Partition
from streams.ids import partition_for
from streams.topics import Topic

#: In one transaction, which must end in time; what is beyond goes to the topic. A question and its
#: answer for each record of a batch.
MAX_LOCAL: Final = 2 * BATCH_RECORDS


class LocalRecord(Message):
    """A record without headers, time and offset: it cannot become a dead letter as it is.

    Who tries to raises, and so the batch is decided again without local records.
    """

    def offset(self) -> int:
        """Raises RuntimeError."""
        raise RuntimeError("a local record has no offset")


@dataclass(slots=True)
class LocalRecords:
    """The output of one transaction, less what is delivered here. Records keep their order."""

    output: Output
    prefix: str
    #: Names of topics, without the prefix.
    topics: Collection[str]
    #: Those that this process has.
    partitions: Mapping[int, Partition]
    _waiting: deque[LocalRecord] = field(default_factory=deque)
    _taken: int = 0

    def send(
        self,
        topic: Topic,
        key: bytes,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        """Keep the record if it is for a partition here, or add it to the transaction."""
        if topic.name in self.topics and self._taken < MAX_LOCAL:
            number = partition_for(key, topic.partitions) if partition < 0 else partition
            if number in self.partitions:
                self._taken += 1
                name = self.prefix + topic.name
                self._waiting.append(
                    LocalRecord(topic=name, partition=number, key=key, value=value)
                )
                return
        self.output.send(topic, key, value, headers, partition)

    def send_named(
        self,
        name: str,
        key: bytes | None,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        """Add the record to the transaction."""
        self.output.send_named(name, key, value, headers, partition)

    def take(self) -> LocalRecord | None:
        """The oldest record that is still to be decided about."""
        return self._waiting.popleft() if self._waiting else None
