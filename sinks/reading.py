"""From consumed messages to one batch for the database, with what could not be read set apart."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import cast

from confluent_kafka import Message

from runtime.kafka.dead_letters import SUFFIX
from sinks.archive import read_dead_letter
from sinks.postgres import Batch, OffsetAdvance, PartitionKey
from sinks.records import GivenHeaders, Unreadable, read_event, read_output


@dataclass(slots=True)
class Reading:
    """One batch: the rows, the records that cannot be read, and the messages of both."""

    batch: Batch = field(default_factory=Batch)
    unreadable: list[tuple[Message, Unreadable]] = field(default_factory=list)
    messages: dict[tuple[str, int, int], Message] = field(default_factory=dict)

    @property
    def records(self) -> int:
        """How many records the batch came from."""
        return len(self.messages)


def read(messages: Iterable[Message], positions: dict[PartitionKey, int], output: str) -> Reading:
    """Decode a batch; `positions` holds the next offset of each partition, `output` is the
    name of the output topic on this cluster, and what does not end in `.dlq` holds events.
    """
    reading = Reading()
    batch = reading.batch
    for message in messages:
        topic, partition, offset = _where(message)
        place = (topic, partition)
        reading.messages[topic, partition, offset] = message
        batch.advances[place] = OffsetAdvance(positions[place], offset + 1)
        if topic.endswith(SUFFIX):
            batch.dead_letters.append((place, offset, read_dead_letter(message)))
        elif topic == output:
            chunk = read_output(message.value(), _headers(message), message.timestamp()[1])
            if isinstance(chunk, Unreadable):
                reading.unreadable.append((message, chunk))
            else:
                batch.output.append((place, offset, chunk))
        else:
            event = read_event(message.value(), _headers(message))
            if isinstance(event, Unreadable):
                reading.unreadable.append((message, event))
            else:
                batch.events.append((place, offset, event))
    return reading


def _headers(message: Message) -> GivenHeaders:
    # A consumed message has a list or nothing; a dictionary is for producing.
    return cast(GivenHeaders, message.headers())


def _where(message: Message) -> tuple[str, int, int]:
    return str(message.topic()), message.partition() or 0, message.offset() or 0
