"""The topics of the triggers: which records are read, and from where each trigger counts them.

The offsets that the group has committed say what was read. How current the knowledge of triggers
was then stands beside them: a trigger that was applied or changed later looks at the records since
that moment again, whoever reads them now.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from processors.triggers.begins import Begins, Place
from processors.triggers.known import KnownTriggers
from processors.triggers.matching import Watched
from runtime.kafka import clients
from runtime.kafka.lag import behind
from runtime.logs import Log
from runtime.settings import MatcherSettings

#: A trigger that is known so late still finds the records since it was applied: the clocks of
#: routers differ, and the changelog takes a moment.
MARGIN_SECONDS: Final = 120.0
_CALL_SECONDS: Final = 10.0
#: A topic that is not there, or may not be read, does not keep the others waiting.
_ABSENT: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)
#: The group is changing; what was read is committed with the next records.
_LATER: Final = frozenset(
    {
        KafkaError.REBALANCE_IN_PROGRESS,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.STALE_MEMBER_EPOCH,
        KafkaError.FENCED_MEMBER_EPOCH,
    }
)


def options(settings: MatcherSettings, group: str, on_error: Callable[[KafkaError], None]) -> Any:
    """The consumer options, for either rebalance protocol."""
    chosen: dict[str, Any] = {
        "queued.min.messages": 1_000,
        "queued.max.messages.kbytes": 8_192,
        "error_cb": on_error,
        "group.protocol": settings.group_protocol,
        # So soon a topic is found that is made after its trigger.
        "topic.metadata.refresh.interval.ms": 5_000,
    }
    if settings.group_protocol == "classic":
        chosen["partition.assignment.strategy"] = "cooperative-sticky"
        chosen["session.timeout.ms"] = settings.kafka_options.get("session.timeout.ms", 10_000)
    return clients.consumer(settings, group, **chosen)


class Sources:
    """One consumer in the matchers' group, for one thread."""

    def __init__(
        self,
        chosen: Any,
        known: KnownTriggers,
        before_revoke: Callable[[], None],
        log: Log,
    ) -> None:
        """`before_revoke` sends what was found so far, so that it can be committed."""
        self._consumer: Any = Consumer(chosen)
        self._known = known
        self._before_revoke = before_revoke
        self._log = log
        self._topics: set[str] = set()
        self._absent: set[str] = set()
        #: The next offset to read.
        self.positions: dict[Place, int] = {}
        self._committed: dict[Place, tuple[int, float]] = {}
        #: (trigger, topic, partition) -> the first offset that it has not looked at
        self._next: dict[tuple[str, str, int], int] = {}

    def subscribe(self) -> bool:
        """Read the topics of all triggers; returns whether there is any."""
        topics = self._known.topics()
        if topics != self._topics:
            self._absent &= topics
            self._topics = topics
            if topics:
                self._consumer.subscribe(
                    sorted(topics),
                    on_assign=self._on_assign,
                    on_revoke=self._on_revoke,
                    on_lost=self._on_lost,
                )
            else:
                self._consumer.unsubscribe()
        return bool(topics)

    def poll(self, wait_seconds: float) -> Message | None:
        """The next record, or None; raises KafkaException."""
        message: Message | None = self._consumer.poll(wait_seconds)
        if message is None:
            return None
        error = message.error()
        if error is None:
            self._absent.discard(str(message.topic()))
            return message
        if error.code() in _ABSENT:
            topic = str(message.topic())
            if topic not in self._absent:
                self._absent.add(topic)
                self._log.warning("a topic of triggers cannot be read", topic=topic, why=str(error))
        elif not error.retriable():
            raise KafkaException(error)
        return None

    def wants(self, watched: Watched, message: Message) -> bool:
        """Whether the trigger has not looked at this record; it has from now on."""
        where = (watched.key, str(message.topic()), int(message.partition() or 0))
        offset = int(message.offset() or 0)
        # Without a place the trigger is newer than the last `learn`, which will go back for it.
        if offset < self._next.get(where, offset + 1):
            return False
        self._next[where] = offset + 1
        return True

    def done(self, message: Message) -> None:
        """All triggers have looked at the record."""
        place = (str(message.topic()), int(message.partition() or 0))
        if place in self.positions:
            self.positions[place] = int(message.offset() or 0) + 1

    def learn(self, changed: Iterable[Watched]) -> None:
        """Go back to where new and changed triggers begin; raises KafkaException."""
        begins = Begins(self._consumer, self.positions)
        for watched in changed:
            for place in [one for one in self.positions if one[0] == watched.trigger.topic]:
                target = begins.again(watched, place)
                self._next[watched.key, *place] = target
                if target < self.positions[place]:
                    self._consumer.seek(TopicPartition(*place, target))
                    self.positions[place] = target
        gone = {one for one in self._next if one[0] not in self._known.triggers}
        for one in gone:
            del self._next[one]

    def commit(self) -> None:
        """Commit what was read, with how current the triggers were; raises KafkaException."""
        covered = self._known.known_at - MARGIN_SECONDS
        wanted = [
            TopicPartition(*place, position, f"{covered:.3f}")
            for place, position in self.positions.items()
            if self._is_due(place, position, covered)
        ]
        if not wanted:
            return
        try:
            for one in self._consumer.commit(offsets=wanted, asynchronous=False):
                if one.error is not None:
                    raise KafkaException(one.error)
                self._committed[one.topic, one.partition] = (one.offset, covered)
        except KafkaException as error:
            if error.args[0].code() not in _LATER:
                raise

    def lag(self) -> dict[str, int]:
        """Records of each topic that were not read yet, as far as the client knows the ends."""
        positions = [TopicPartition(*place, at) for place, at in self.positions.items()]
        return behind(positions, self._consumer)

    def answers(self, topic: str) -> bool:
        """Whether the broker answers and has this topic."""
        try:
            found = self._consumer.list_topics(topic, timeout=2.5)
        except KafkaException:
            return False
        return found.topics[topic].error is None

    def close(self) -> None:
        """Leave the group."""
        self._consumer.close()

    def _is_due(self, place: Place, position: int, covered: float) -> bool:
        last = self._committed.get(place)
        if last is None or last[0] != position:
            return True
        # Else a change would be looked at again after each restart of a topic that is quiet.
        return any(last[1] < one.changed_at <= covered for one in self._known.on(place[0]))

    def _on_assign(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        places = [(one.topic, one.partition) for one in partitions]
        begins = Begins(consumer, places)
        for one in consumer.committed(partitions, timeout=_CALL_SECONDS):
            if one.error is not None:
                raise KafkaException(one.error)
            self._place(one, begins)
        consumer.incremental_assign(
            [TopicPartition(*place, self.positions[place]) for place in places]
        )

    def _place(self, committed: TopicPartition, begins: Begins) -> None:
        """Where to begin in a partition, for each of its triggers and for all of them."""
        place = (committed.topic, committed.partition)
        starts: list[int] = []
        covered = 0.0
        if committed.offset >= 0:
            covered = _covered(committed.metadata)
            starts.append(committed.offset)
            self._committed[place] = (committed.offset, covered)
        for watched in self._known.on(committed.topic):
            self._next[watched.key, *place] = since = begins.since(watched, place)
            if committed.offset < 0:
                starts.append(since)
            elif watched.changed_at > covered:
                starts.append(begins.again(watched, place))
        self.positions[place] = min(starts) if starts else begins.end(place)

    def _on_revoke(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._before_revoke()
        self._forget(partitions)
        consumer.incremental_unassign(partitions)

    def _on_lost(self, consumer: Any, partitions: list[TopicPartition]) -> None:
        self._forget(partitions)
        consumer.incremental_unassign(partitions)

    def _forget(self, partitions: list[TopicPartition]) -> None:
        gone = {(one.topic, one.partition) for one in partitions}
        for place in gone:
            self.positions.pop(place, None)
            self._committed.pop(place, None)
        for where in [one for one in self._next if (one[1], one[2]) in gone]:
            del self._next[where]


def _covered(metadata: str | None) -> float:
    try:
        return float(metadata or 0)
    except ValueError:
        return 0.0
