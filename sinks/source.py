"""The sink's consumer: it reads batches from the positions that are stored in the database."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from runtime.kafka import clients
from runtime.kafka.lag import behind
from runtime.kafka.outage import reason
from runtime.settings import CommonSettings

PartitionKey = tuple[str, int]

#: A batch ends at this size, so that large output chunks do not fill the memory.
_BATCH_BYTES: Final = 8 * 1024 * 1024
_FETCH_RECORDS: Final = 200
#: Positions are committed to Kafka for lag tools only, at this interval in seconds.
_COMMIT_SECONDS: Final = 1.0


class Source:
    """Reads the topics of the sink as one member of its group; for one thread.

    Assigned partitions are paused until `seek` sets their positions. A batch that was
    collected across a rebalance is dropped and read again from the stored positions.
    """

    def __init__(self, settings: CommonSettings, group: str, topics: Iterable[str]) -> None:
        """Join the group; nothing is read yet."""
        self._consumer = Consumer(
            clients.consumer(
                settings,
                group,
                **{
                    # The end of a partition with its offset: after a transaction it is one past the
                    # last record, since the marker has an offset that lag tools count too.
                    "enable.partition.eof": True,
                    # How soon a topic that is created later is noticed.
                    "topic.metadata.refresh.interval.ms": 10_000,
                    "error_cb": self._on_error,
                    # The partitions of a killed sink are assigned anew after this time.
                    "session.timeout.ms": 10_000,
                },
            )
        )
        self._topics = list(topics)
        self._assigned: dict[PartitionKey, TopicPartition] = {}
        self._sought = False
        self._rebalances = 0
        self._ends: dict[PartitionKey, int] = {}
        self._committed: dict[PartitionKey, int] = {}
        self._next_commit = 0.0
        #: The last error of the client library, until it is read.
        self.problem: str | None = None
        self._consumer.subscribe(
            self._topics,
            on_assign=self._on_assign,
            on_revoke=self._on_revoke,
            on_lost=self._on_revoke,
        )

    @property
    def awaiting_seek(self) -> list[PartitionKey]:
        """The partitions that wait for `seek`; empty once it was called, or where none is ours."""
        return [] if self._sought else list(self._assigned)

    def seek(self, positions: dict[PartitionKey, int]) -> None:
        """Start reading every assigned partition at the stored position."""
        for name, partition in self._assigned.items():
            following = positions.get(name, 0)
            partition.offset = following if following > 0 else OFFSET_BEGINNING
        self._ends.clear()
        self._consumer.assign(list(self._assigned.values()))
        self._consumer.resume(list(self._assigned.values()))
        self._sought = True

    def pause(self) -> None:
        """Read nothing until the next `seek`; stay in the group."""
        if self._assigned:
            self._consumer.pause(list(self._assigned.values()))
        self._sought = False

    def poll(self, seconds: float) -> None:
        """Serve the group while there is nothing to do with records."""
        message = self._consumer.poll(seconds)
        if message is not None:
            # Only what was fetched before `pause`: it is read again from the stored position.
            self._sought = False

    def collect(self, most: int, seconds: float) -> list[Message]:
        """The next records, up to `most`, in the order of their partitions.

        Waits `seconds` for the first and for none after it. Raises KafkaException where the
        client cannot go on.
        """
        before = self._rebalances
        batch: list[Message] = []
        first = self._consumer.poll(seconds)
        size = self._take([] if first is None else [first], batch)
        while batch and len(batch) < most and size < _BATCH_BYTES:
            more = self._consumer.consume(min(_FETCH_RECORDS, most - len(batch)), 0)
            if not more:
                break
            size += self._take(more, batch)
        return batch if before == self._rebalances and self._sought else []

    def probe(self) -> None:
        """Request metadata, for a second at most, to see whether the failure lasts."""
        try:
            known = self._consumer.list_topics(timeout=1.0).topics
        except KafkaException as error:
            self.problem = reason(error.args[0]).sentence
            return
        missing = [name for name in self._topics if name not in known]
        self.problem = f"topics are missing: {', '.join(missing)}" if missing else None

    def commit(self, positions: dict[PartitionKey, int], *, now: bool = False) -> None:
        """Commit the stored positions, once a second or `now`; nothing depends on it."""
        if not now and time.monotonic() < self._next_commit:
            return
        self._next_commit = time.monotonic() + _COMMIT_SECONDS
        offsets = []
        for name, following in positions.items():
            # The end is one past a transaction's marker; a later record moves the position further.
            offset = max(following, self._ends.get(name, 0))
            if name in self._assigned and offset > 0 and self._committed.get(name) != offset:
                self._committed[name] = offset
                offsets.append(TopicPartition(name[0], name[1], offset))
        if offsets:
            try:
                if now:
                    self._consumer.commit(offsets=offsets, asynchronous=False)
                else:
                    self._consumer.commit(offsets=offsets)
            except KafkaException as error:
                self.problem = reason(error.args[0]).sentence

    def lag(self) -> dict[str, int]:
        """Records behind the end, by topic, as far as the client knows without a request."""
        try:
            positions = self._consumer.position(list(self._assigned.values()))
        except KafkaException:
            return {}
        for one in positions:
            one.offset = max(one.offset, self._ends.get((one.topic, one.partition), one.offset))
        return behind(positions, self._consumer)

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _take(self, messages: list[Message], batch: list[Message]) -> int:
        size = 0
        for message in messages:
            error = message.error()
            if error is None:
                size += len(message.value() or b"")
                batch.append(message)
            elif error.code() == KafkaError._PARTITION_EOF:
                place = (str(message.topic()), message.partition() or 0)
                self._ends[place] = message.offset() or 0
            elif error.fatal():
                raise KafkaException(error)
            else:
                self.problem = reason(error).sentence
        return size

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        self._assigned = {(p.topic, p.partition): p for p in partitions}
        self._ends.clear()
        self._committed.clear()
        consumer.assign(partitions)
        if partitions:
            consumer.pause(partitions)
        self._sought = not partitions

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1
        self._assigned = {}
        self._sought = False
        consumer.unassign()

    def _on_error(self, error: KafkaError) -> None:
        # An interruption of this process is no failure of the broker.
        if error.code() != KafkaError._MAX_POLL_EXCEEDED:
            self.problem = reason(error).sentence
