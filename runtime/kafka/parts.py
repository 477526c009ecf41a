"""Parts: the values in a record that holds several, each decided about like a record of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import Message

#: The values of a record that holds several, None for every other record.
Split = Callable[[Message], Sequence[bytes] | None]


class Part(Message):
    """One value of a record; topic, partition, offset, key and headers are the record's.

    The record is consumed with its last part. If the process ends before, it is read again, and
    the parts that were committed are decided about once more.
    """

    def __init__(self, record: Message, value: bytes, number: int, *, is_last: bool) -> None:
        """Made of a record without an error; `number` counts its parts from 1."""
        super().__init__(
            topic=record.topic(),
            partition=record.partition(),
            offset=record.offset(),
            key=record.key(),
            value=value,
            timestamp=record.timestamp(),
        )
        self.record = record
        self.number = number
        self.is_last = is_last

    def headers(self) -> Any:
        """The headers of the record."""
        return self.record.headers()


def parts_of(records: Sequence[Message], split: Split) -> list[Message]:
    """The records, in their order; in the place of one with several values its parts."""
    found: list[Message] = []
    for record in records:
        values = split(record)
        if values is None:
            found.append(record)
        else:
            numbered = enumerate(values, 1)
            found += [Part(record, one, at, is_last=at == len(values)) for at, one in numbered]
    return found


def record_of(message: Message) -> Message:
    """The record that a message is, or is a part of."""
    return message.record if isinstance(message, Part) else message


def is_consumed(message: Message) -> bool:
    """Whether its record is consumed once this is decided."""
    return not isinstance(message, Part) or message.is_last


def next_offset(message: Message) -> int:
    """The offset to commit once this and everything before it is decided."""
    return (message.offset() or 0) + is_consumed(message)
