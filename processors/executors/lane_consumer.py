"""The consumer of a lane: returns commands in batches and stays a member of its group."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from runtime import clock
from runtime.kafka import clients
from runtime.settings import ExecutorSettings

#: How often a lane without a free slot polls, so that a rebalance of the group can go on.
_KEEP_ALIVE_SECONDS: Final = 1.0
#: Each of these polls may return a record; with so many not taken the partitions are paused.
#: Not before: a pause drops what is fetched, and a fetch after it waits for the one in flight.
_MOST_POLLED: Final = 500
_CALL_SECONDS: Final = 5.0
_FETCH_WAIT_MS: Final = 2_000
#: A request to the broker waits for the fetch that is in flight on the same connection.
_METADATA_SECONDS: Final = _FETCH_WAIT_MS / 1_000 + 0.5


def options(settings: ExecutorSettings, group: str, on_error: Callable[[KafkaError], None]) -> Any:
    """The consumer options of a lane, for either rebalance protocol."""
    chosen: dict[str, Any] = {
        # Enough for any claim; what is fetched and not claimed is fetched again elsewhere.
        "queued.min.messages": 2_000,
        # A process has two lanes per domain, most of them idle. The broker answers at once when
        # there is a command; a partition that was taken over may wait this long for its first.
        "fetch.wait.max.ms": _FETCH_WAIT_MS,
        "error_cb": on_error,
        "group.protocol": settings.group_protocol,
    }
    if settings.group_protocol == "classic":
        chosen["partition.assignment.strategy"] = "cooperative-sticky"
        # A killed instance's partitions are served by others after this; heartbeats need no poll.
        chosen["session.timeout.ms"] = settings.kafka_options.get("session.timeout.ms", 10_000)
    return clients.consumer(settings, group, **chosen)


class LaneConsumer:
    """One consumer in a group, for one thread.

    What was polled and not yet taken is dropped when its partition goes away, and offsets are
    the caller's: they count what was claimed, never what was only polled.
    """

    def __init__(self, chosen: Any, topic: str, on_error: Callable[[KafkaError], None]) -> None:
        """Join the group."""
        self.client = Consumer(chosen)
        self._topic = topic
        self._on_error = on_error
        self._polled: list[Message] = []
        self._paused = False
        self._polled_at = clock.monotonic()
        self.assigned = 0
        self.client.subscribe(
            [topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def take(self, count: int, wait_seconds: float) -> list[Message]:
        """At most `count` records, as soon as there is one; none after `wait_seconds`."""
        self._resume()
        self._poll(0 if self._polled else wait_seconds)
        more = count - len(self._polled)
        # `consume` waits for all it is asked for: only what is there already.
        if self._polled and more > 0:
            for message in self.client.consume(more, 0):
                self._keep(message)
        taken, self._polled = self._polled[:count], self._polled[count:]
        return taken

    def unread(self, messages: list[Message]) -> None:
        """Put these back: they were not claimed, and come first in the next `take`."""
        self._polled = messages + self._polled

    def keep_alive(self) -> None:
        """Stay a member of the group while nothing can be taken; never blocks."""
        if clock.monotonic() - self._polled_at < _KEEP_ALIVE_SECONDS:
            return
        if not self._paused and len(self._polled) >= _MOST_POLLED:
            self._paused = True
            self.client.pause(self.client.assignment())
        self._poll(0)

    def rewind(self) -> None:
        """Go back to what is committed; raises KafkaException, and then must be called again."""
        self._polled.clear()
        assigned = self.client.assignment()
        if not assigned:
            return
        for position in self.client.committed(assigned, timeout=_CALL_SECONDS):
            if position.error is not None:
                raise KafkaException(position.error)
            offset = position.offset if position.offset >= 0 else OFFSET_BEGINNING
            self.client.seek(TopicPartition(position.topic, position.partition, offset))
        # Records that a poll of this thread has not seen yet are dropped by the seek itself.

    def topic_exists(self) -> bool:
        """Whether the broker answers and has the topic; blocks for 2.5 s at most."""
        try:
            found = self.client.list_topics(self._topic, timeout=_METADATA_SECONDS)
        except KafkaException:
            return False
        return found.topics[self._topic].error is None

    def close(self) -> None:
        """Leave the group."""
        self._polled.clear()
        self.client.close()

    def _poll(self, wait_seconds: float) -> None:
        self._polled_at = clock.monotonic()
        message = self.client.poll(wait_seconds)
        if message is not None:
            self._keep(message)

    def _keep(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self._polled.append(message)
        else:
            self._on_error(error)

    def _resume(self) -> None:
        if self._paused:
            self._paused = False
            self.client.resume(self.client.assignment())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        self.assigned += len(partitions)
        # The client keeps a pause when a partition is lost: set again, either way.
        if self._paused:
            consumer.pause(partitions)
        else:
            consumer.resume(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(one.topic, one.partition) for one in partitions}
        self._polled = [
            message
            for message in self._polled
            if (message.topic(), message.partition()) not in gone
        ]
        self.assigned -= len(partitions)
        consumer.incremental_unassign(partitions)
