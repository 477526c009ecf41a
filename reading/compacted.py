"""Compacted topics, read whole by the API at most every few seconds, whoever asks.

They are small: one record per procedure, schedule, trigger or lock. A reader of one keeps what it
has read and goes on from there, so the next reading costs what has changed since.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from runtime.clock import monotonic
from runtime.kafka import clients

if TYPE_CHECKING:
    from runtime.settings import CommonSettings
    from streams.topics import Topic

#: How old an answer may be.
MAX_AGE_SECONDS: Final = 2.0
#: How long one reading may take; a transaction that is open keeps it from the true end.
READ_SECONDS: Final = 8.0
#: How long somebody waits for a reading that another one has begun.
WAIT_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 4.0
_POLL_SECONDS: Final = 0.01
_BATCH: Final = 5_000

T = TypeVar("T")


class Unavailable(Exception):
    """The topic cannot be read now; the message is one sentence for people."""


@dataclass(frozen=True, slots=True)
class Read(Generic[T]):
    """What a topic holds, and when it was read to its end."""

    items: Mapping[bytes, T]
    as_of: datetime


class CompactedTopic(Generic[T]):
    """The latest value of each key of a topic; safe from every thread."""

    def __init__(
        self,
        settings: CommonSettings,
        topic: Topic,
        take: Callable[[Message], T | None],
        *,
        age: float = MAX_AGE_SECONDS,
    ) -> None:
        """Nothing is opened yet; `take` makes of a record what is kept, None: nothing."""
        self._settings = settings
        self._name = clients.topic_name(settings, topic)
        self._take = take
        self._age = age
        self._lock = threading.Lock()
        self._consumer: Consumer | None = None
        #: Of each partition the offset up to which it was read.
        self._next: dict[int, int] = {}
        self._items: dict[bytes, T] = {}
        self._read: Read[T] | None = None
        self._failed: Unavailable | None = None
        self._asked_at = 0.0

    def read(self) -> Read[T]:
        """What the topic holds, as it was at most `age` seconds ago; raises Unavailable."""
        if not self._lock.acquire(timeout=WAIT_SECONDS):
            raise Unavailable(f"{self._name} is still being read: try again")
        try:
            if monotonic() - self._asked_at < self._age:
                if self._failed is not None:
                    raise self._failed
                if self._read is not None:
                    return self._read
            return self._again()
        finally:
            self._lock.release()

    def close(self) -> None:
        """Leave the broker."""
        with self._lock:
            self._forget()

    def _again(self) -> Read[T]:
        try:
            self._follow(self._consumer or self._open())
        except (KafkaException, Unavailable) as error:
            self._forget()
            sentence = str(error)
            if isinstance(error, KafkaException):
                sentence = f"Kafka does not give {self._name}: {error.args[0].str()}"
            # Those who ask at the same time need not wait as long, each for itself.
            self._failed = Unavailable(sentence)
            raise self._failed from None
        finally:
            self._asked_at = monotonic()
        self._failed = None
        self._read = Read(dict(self._items), datetime.now(UTC))
        return self._read

    def _forget(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
        self._consumer, self._read = None, None
        self._next, self._items = {}, {}

    def _open(self) -> Consumer:
        consumer = Consumer(clients.reader(self._settings, **clients.ENDS))
        self._consumer = consumer
        found = consumer.list_topics(self._name, timeout=_CALL_SECONDS).topics.get(self._name)
        if found is None or found.error is not None or not found.partitions:
            raise Unavailable(f"the topic {self._name} does not exist: runstream topics apply")
        self._next = dict.fromkeys(sorted(found.partitions), 0)
        return consumer

    def _follow(self, consumer: Consumer) -> None:
        """Read on to the present end of each partition."""
        ends = self._ends(consumer)
        if any(end < self._next[number] for number, end in ends.items()):
            # The topic was made anew.
            self._next, self._items = dict.fromkeys(self._next, 0), {}
        left = {number for number, end in ends.items() if self._next[number] < end}
        if not left:
            return
        consumer.assign([TopicPartition(self._name, number, self._next[number]) for number in left])
        try:
            self._read_up(consumer, ends, left)
        finally:
            # Assigned partitions are fetched from the broker all the time.
            consumer.unassign()

    def _read_up(self, consumer: Consumer, ends: dict[int, int], left: set[int]) -> None:
        until = monotonic() + READ_SECONDS
        while left:
            if monotonic() > until:
                raise Unavailable(f"{self._name} could not be read to its end in time")
            for message in consumer.consume(_BATCH, _POLL_SECONDS):
                error = message.error()
                number, offset = message.partition() or 0, message.offset() or 0
                if error is None:
                    self._keep(message)
                    self._next[number] = offset + 1
                elif error.code() == KafkaError._PARTITION_EOF:
                    # What lies before it besides records are marks of transactions.
                    self._next[number] = max(self._next[number], offset)
                elif not error.retriable():
                    raise KafkaException(error)
                if self._next[number] >= ends[number]:
                    left.discard(number)

    def _ends(self, consumer: Consumer) -> dict[int, int]:
        return {
            number: consumer.get_watermark_offsets(
                TopicPartition(self._name, number), timeout=_CALL_SECONDS
            )[1]
            for number in self._next
        }

    def _keep(self, message: Message) -> None:
        key = message.key() or b""
        kept = None if message.value() is None else self._take(message)
        if kept is None:
            self._items.pop(key, None)
        else:
            self._items[key] = kept
