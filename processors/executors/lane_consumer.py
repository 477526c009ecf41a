"""The consumer of a lane: reads commands ahead, gives those that are next, stays in its group."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)

from processors.executors.read_ahead import ReadAhead, Where, place
from runtime import clock
from runtime.kafka import clients
from runtime.kafka.offsets import note_of
from runtime.settings import ExecutorSettings

#: How often a lane without a free slot polls, so that a rebalance of the group can go on.
_KEEP_ALIVE_SECONDS: Final = 1.0
#: How many are asked of the client at once.
_CHUNK: Final = 500
#: Records of partitions that are new here, of which no more are polled.
_MOST_EARLY: Final = 100
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

    What was read and not taken is dropped when its partition goes away. What was taken counts as
    claimed from then on: where that is not committed, `rewind` goes back to what is.
    """

    def __init__(self, chosen: Any, topic: str, on_error: Callable[[KafkaError], None]) -> None:
        """Join the group."""
        self.client = Consumer(chosen)
        self._topic = topic
        self._on_error = on_error
        self._ahead = ReadAhead()
        #: Of partitions of which it is not known yet what was claimed.
        self._early: list[Message] = []
        self._assigned: set[Where] = set()
        #: The partitions that were lost during the call of the client that is going on.
        self._lost: set[Where] = set()
        self._paused = False
        self._polled_at = clock.monotonic()
        self.client.subscribe(
            [topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke
        )

    def read(self, count: int, free: int, wait_seconds: float) -> bool:
        """Whether commands wait; returns as soon as there is one, False after `wait_seconds`.

        Reads `count` at most, which is no more than are `free`. Where there is no slot for each of
        them it reads ahead as far as it may, since then it matters which are next. Raises
        KafkaException where it cannot be known what of a partition is claimed.
        """
        self._resume()
        came = self._poll(0 if self._ahead else wait_seconds)
        # `consume` waits for all it is asked for: only what is there already.
        if came or self._ahead or self._early:
            self._consume(count - len(self._ahead) - len(self._early))
        self._open_partitions()
        while len(self._ahead) >= free and self._ahead.has_room and self._consume(_CHUNK):
            self._open_partitions()
        return len(self._ahead) > 0

    def take(self, count: int, now: float) -> list[Message]:
        """The `count` commands that are next; `now` by the broker's clock, in Unix seconds."""
        return self._ahead.take(count, now)

    def claims(self, taken: Iterable[Message]) -> tuple[dict[Where, int], dict[Where, str]]:
        """The offsets that a claim of what was `taken` commits, and their notes."""
        return self._ahead.claims(taken)

    def waiting(self) -> dict[str, int]:
        """How many commands were read and not taken, by topic."""
        return {self._topic: len(self._ahead) + len(self._early)}

    def keep_alive(self) -> None:
        """Stay a member of the group while nothing can be taken; never blocks."""
        if clock.monotonic() - self._polled_at < _KEEP_ALIVE_SECONDS:
            return
        # Not before: a pause drops what is fetched, and a fetch after it waits for the one in
        # flight.
        if not self._paused and (self._ahead.is_overfull or len(self._early) >= _MOST_EARLY):
            self._paused = True
            self.client.pause(self.client.assignment())
        self._poll(0)

    def rewind(self) -> None:
        """Go back to what is committed; raises KafkaException, and then must be called again."""
        self._ahead.clear()
        self._early.clear()
        assigned = self.client.assignment()
        if not assigned:
            return
        for position in self._open(assigned):
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
        self._ahead.clear()
        self._early.clear()
        self.client.close()

    def _poll(self, wait_seconds: float) -> bool:
        """Read one record; whether there was one."""
        self._polled_at = clock.monotonic()
        message = self.client.poll(wait_seconds)
        if message is not None:
            self._keep(message)
        return message is not None

    def _consume(self, count: int) -> bool:
        """Read what is there, `count` at most; whether anything was."""
        if count <= 0:
            return False
        self._lost.clear()
        messages = self.client.consume(count, 0)
        for message in messages:
            # The call itself may lose a partition of which it has collected records before.
            if not self._lost or place(message) not in self._lost:
                self._keep(message)
        if self._lost & self._assigned:
            self.rewind()
        return bool(messages)

    def _keep(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._on_error(error)
        elif self._ahead.knows(place(message)):
            self._ahead.add(message)
        elif place(message) in self._assigned:
            self._early.append(message)

    def _open_partitions(self) -> None:
        """Find out what was claimed of the partitions that are new here.

        The client has read the committed offset before it fetched from there, and nobody else
        commits while the partition is assigned here: the note is that of the same commit.
        """
        if not self._early:
            return
        new = [one for one in self._assigned if not self._ahead.knows(one)]
        self._open([TopicPartition(*one) for one in new])
        early, self._early = self._early, []
        for message in early:
            self._ahead.add(message)

    def _open(self, partitions: list[TopicPartition]) -> list[TopicPartition]:
        found = self.client.committed(partitions, timeout=_CALL_SECONDS)
        for one in found:
            if one.error is not None:
                raise KafkaException(one.error)
        for one in found:
            self._ahead.open((one.topic, one.partition), one.offset, note_of(one))
        return found

    def _resume(self) -> None:
        if self._paused and self._ahead.has_room:
            self._paused = False
            self.client.resume(self.client.assignment())

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_assign(partitions)
        self._assigned.update((one.topic, one.partition) for one in partitions)
        # The client keeps a pause when a partition is lost: set again, either way.
        if self._paused:
            consumer.pause(partitions)
        else:
            consumer.resume(partitions)

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(one.topic, one.partition) for one in partitions}
        self._ahead.drop(gone)
        self._early = [message for message in self._early if place(message) not in gone]
        self._lost |= gone
        self._assigned -= gone
        consumer.incremental_unassign(partitions)
