"""Reading `execution.events` for one execution: only the partition of its route key."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from time import sleep
from types import TracebackType
from typing import TYPE_CHECKING, Final, TypeVar

from console import broker
from runtime.clock import monotonic
from runtime.kafka import clients
from streams.ids import partition_for
from streams.topics import EVENTS

if TYPE_CHECKING:
    from confluent_kafka import KafkaError, Message, TopicPartition

    from runtime.settings import CommonSettings

#: Producers' and brokers' clocks differ; reading starts this much before the id's own time.
MARGIN_MS: Final = 10 * 60_000

#: A broker that is away for longer ends the command; librdkafka reconnects by itself until then.
MAX_AWAY_SECONDS: Final = 60.0

_BATCH: Final = 500

T = TypeVar("T")


def _leaderless() -> tuple[int, ...]:
    """Errors of brokers while a partition is new or changes its leader."""
    from confluent_kafka import KafkaError

    return (
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.REPLICA_NOT_AVAILABLE,
    )


class EventLog:
    """The records of one partition, in order; duplicates and other executions included.

    The reader belongs to no group and commits nothing. Use as a context manager.
    """

    def __init__(
        self, settings: CommonSettings, route: str, *, since_ms: int | None = None
    ) -> None:
        """Start at the end, or at `since_ms` (Unix milliseconds) less the margin for clocks.

        The position is set when this returns, so records produced afterwards are read. Raises
        Failure where the broker or the topic is missing.
        """
        from confluent_kafka import Consumer, KafkaException, TopicPartition

        self._settings = settings
        self._away_since: float | None = None
        # At most one batch: it is filled only when it is empty.
        self._buffer: deque[Message] = deque()
        count = broker.partitions(settings, EVENTS)
        options = clients.reader(settings, error_cb=self._on_error)
        # An idle watcher costs the broker little; a new record ends the wait at once.
        self._consumer = Consumer({**options, "fetch.wait.max.ms": 200})
        place = TopicPartition(
            clients.topic_name(settings, EVENTS), partition_for(route.encode(), count)
        )
        self.partition: int = place.partition
        try:
            self.begin, self.end = self._retried(lambda: self._ends_of(place))
            place.offset = self.end
            if since_ms is not None:
                wanted = max(since_ms - MARGIN_MS, 0)
                place.offset = self._retried(lambda: self._offset_at(place, wanted))
            self._consumer.assign([place])
        except KafkaException as error:
            self._consumer.close()
            raise broker.refused(settings, place.topic, error) from None
        self._next = place.offset
        #: Whether records from before the first one that is read have expired.
        self.is_truncated: bool = place.offset == self.begin > 0

    def _ends_of(self, place: TopicPartition) -> tuple[int, int]:
        begin, end = self._consumer.get_watermark_offsets(place, timeout=broker.PROBE_SECONDS)
        return begin, end

    def _offset_at(self, place: TopicPartition, unix_ms: int) -> int:
        """The first record at or after that time, else the end."""
        from confluent_kafka import TopicPartition

        asked = [TopicPartition(place.topic, place.partition, unix_ms)]
        found = self._consumer.offsets_for_times(asked, timeout=broker.PROBE_SECONDS)[0]
        if found.error is not None:
            from confluent_kafka import KafkaException

            raise KafkaException(found.error)
        return found.offset if found.offset >= 0 else self.end

    def _retried(self, question: Callable[[], T]) -> T:
        """The result, retried while the partition has no leader, at most PROBE_SECONDS."""
        from confluent_kafka import KafkaException

        until = monotonic() + broker.PROBE_SECONDS
        while True:
            try:
                return question()
            except KafkaException as error:
                if monotonic() > until or error.args[0].code() not in _leaderless():
                    raise
                sleep(0.05)

    def _on_error(self, error: KafkaError) -> None:
        from confluent_kafka import KafkaError as Errors

        if error.code() == Errors._ALL_BROKERS_DOWN and self._away_since is None:
            self._away_since = monotonic()

    @property
    def away(self) -> bool:
        """Whether no broker has responded lately."""
        return self._away_since is not None

    @property
    def caught_up(self) -> bool:
        """Whether every record that existed at the start was returned by `next`."""
        return self._next >= self.end and not self._buffer

    def next(self, timeout: float) -> bytes | None:
        """The next value; waits up to `timeout` seconds for it, then None.

        Raises Failure when the brokers have been away for MAX_AWAY_SECONDS.
        """
        message = self.next_message(timeout)
        value = None if message is None else message.value()
        return value if isinstance(value, bytes) else None

    def next_message(self, timeout: float) -> Message | None:
        """The same with key and headers; it has a value."""
        if not self._buffer:
            self._fetch(timeout)
        return self._buffer.popleft() if self._buffer else None

    def _fetch(self, timeout: float) -> None:
        first = self._consumer.poll(timeout)
        if first is None:
            self._check()
            return
        for message in (first, *self._consumer.consume(_BATCH, 0)):
            if message.error() is None:
                self._away_since = None
                self._next = (message.offset() or 0) + 1
                if isinstance(message.value(), bytes):
                    self._buffer.append(message)

    def _check(self) -> None:
        from confluent_kafka import KafkaException, TopicPartition

        # Transaction markers take offsets, too: the position may be past them with no record.
        place = TopicPartition(clients.topic_name(self._settings, EVENTS), self.partition)
        position = self._consumer.position([place])[0].offset
        self._next = max(self._next, position)
        if self._away_since is None:
            return
        try:
            self._consumer.list_topics(timeout=1.0)
        except KafkaException:
            if monotonic() - self._away_since > MAX_AWAY_SECONDS:
                raise broker.unreachable(self._settings) from None
        else:
            self._away_since = None

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._consumer.close()
