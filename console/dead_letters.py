"""Reading dead-letter topics: bounded, in no consumer group, committing nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from time import sleep
from typing import TYPE_CHECKING, Final, cast

from console import broker
from console.exits import Exit, Failure
from runtime.clock import monotonic
from runtime.kafka import clients
from runtime.kafka.dead_letters import PREFIX, RETRIES_EXHAUSTED, SUFFIX, hop_count
from streams.envelope import HOPS, header
from streams.topics import DEAD_LETTERS, TOPICS

if TYPE_CHECKING:
    from confluent_kafka import Consumer, Message, TopicPartition

    from runtime.settings import CommonSettings
    from streams.topics import Topic

Headers = list[tuple[str, bytes | str | None]]

_QUIET_SECONDS: Final = 10.0
#: LEADER_NOT_AVAILABLE, NOT_LEADER_FOR_PARTITION (Kafka protocol, error codes).
_LEADER_ERRORS: Final = (5, 6)


@dataclass(frozen=True, slots=True)
class DeadLetterRecord:
    """One dead letter; `topic` is the dead-letter topic with the prefix of this cluster."""

    source: Topic
    topic: str
    partition: int
    offset: int
    at_ms: int
    key: bytes | None
    value: bytes | None
    headers: Headers

    def said(self, name: str) -> str | None:
        """The header `runstream-error-<name>`."""
        return header(self.headers, PREFIX + name)

    @property
    def error_class(self) -> str:
        """The stable class of the fault."""
        return self.said("class") or "unknown"

    @property
    def hops(self) -> int:
        """How often it was redriven."""
        return hop_count(header(self.headers, HOPS))

    @property
    def exhausted(self) -> bool:
        """Whether it is a step after its last attempt, not a record that cannot be decoded."""
        return self.error_class == RETRIES_EXHAUSTED and self.source.name.startswith("steps.")

    @property
    def at(self) -> datetime:
        """When it was written, by the broker's clock."""
        return datetime.fromtimestamp(max(self.at_ms, 0) / 1_000, UTC)


def source_of(settings: CommonSettings, name: str) -> Topic:
    """The topic whose dead letters are meant by `name`, with or without prefix and `.dlq`."""
    bare = name.removesuffix(SUFFIX).removeprefix(settings.topic_prefix)
    topic = TOPICS.get(bare)
    if topic is None or not topic.dead_letters:
        known = ", ".join(sorted(topic.name for topic in TOPICS.values() if topic.dead_letters))
        raise Failure(f"{name} has no dead letters", Exit.USAGE, f"one of: {known}")
    return topic


def dlq_name(settings: CommonSettings, source: Topic) -> str:
    """The dead-letter topic of `source` on this cluster."""
    return clients.topic_name(settings, DEAD_LETTERS[source.name])


def read(
    settings: CommonSettings, sources: list[Topic], *, newest: int | None = None
) -> Iterator[DeadLetterRecord]:
    """The dead letters of these topics, partition by partition, up to what is there at the start.

    With `newest`, no more than that many of each partition, the latest. A topic that does not
    exist has no dead letters. Raises Failure where the broker is away.
    """
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    known = broker.probe(settings).topics
    consumer = Consumer(clients.reader(settings, **clients.ENDS))
    try:
        for source in sources:
            found = known.get(dlq_name(settings, source))
            for partition in sorted(found.partitions) if found is not None else ():
                place = TopicPartition(dlq_name(settings, source), partition)
                low, high = _bounds(consumer, place)
                if low < high:
                    place.offset = low if newest is None else max(low, high - newest)
                    consumer.assign([place])
                    yield from _partition(settings, consumer.poll, source, high)
    except KafkaException as error:
        raise broker.refused(settings, "a dead-letter topic", error) from None
    finally:
        consumer.close()


def one(settings: CommonSettings, source: Topic, partition: int, offset: int) -> DeadLetterRecord:
    """The dead letter at an offset; raises Failure where there is none."""
    from confluent_kafka import Consumer, KafkaException, TopicPartition

    name = dlq_name(settings, source)
    consumer = Consumer(clients.reader(settings, **clients.ENDS))
    place = TopicPartition(name, partition)
    missing = Failure(f"{name}[{partition}] has no dead letter {offset}", Exit.FAILED,
                      f"runstream dlq list {source.name}")  # fmt: skip
    try:
        low, high = _bounds(consumer, place)
        if not low <= offset < high:
            raise missing
        place.offset = offset
        consumer.assign([place])
        record = next(_partition(settings, consumer.poll, source, offset + 1), None)
    except KafkaException as error:
        raise broker.refused(settings, name, error) from None
    finally:
        consumer.close()
    if record is None or record.offset != offset:
        raise missing
    return record


def _bounds(consumer: Consumer, place: TopicPartition) -> tuple[int, int]:
    """First and next offset; retries while a new partition has no leader."""
    from confluent_kafka import KafkaException

    until = monotonic() + broker.ABSENT_SECONDS
    while True:
        try:
            return consumer.get_watermark_offsets(place, timeout=broker.PROBE_SECONDS)
        except KafkaException as error:
            if error.args[0].code() not in _LEADER_ERRORS or monotonic() > until:
                raise
            sleep(0.05)


def _partition(
    settings: CommonSettings, poll: Callable[[float], Message | None], source: Topic, high: int
) -> Iterator[DeadLetterRecord]:
    from confluent_kafka import KafkaError

    while True:
        message = poll(_QUIET_SECONDS)
        if message is None:
            raise broker.unreachable(settings)
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                return
            continue
        offset = message.offset() or 0
        if offset >= high:
            return
        yield _record(source, message)
        if offset >= high - 1:
            return


def _record(source: Topic, message: Message) -> DeadLetterRecord:
    return DeadLetterRecord(
        source,
        str(message.topic()),
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),
        message.value(),
        cast("Headers", message.headers() or []),
    )
