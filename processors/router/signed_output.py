"""What is signed is signed together: one signature for records of a batch in the same topic."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from runtime.kafka.processor import Output
from streams.envelope import SIGNATURE, Headers
from streams.topics import Topic

#: The token of each value, in their order, for the topic of this name.
Tokens = Callable[[str, Sequence[bytes]], list[bytes]]


class _Held(NamedTuple):
    key: bytes
    value: bytes
    headers: Headers
    partition: int
    signed: bytes


@dataclass(slots=True)
class SignedOutput:
    """Holds records back until the batch is over; keeps their order by topic.

    One for all partitions of a process: the transaction of a batch is one, too.
    """

    tokens: Tokens
    _held: dict[Topic, list[_Held]] = field(default_factory=dict)

    def add(
        self,
        topic: Topic,
        key: bytes,
        value: bytes,
        headers: Headers,
        partition: int = -1,
        signed: bytes | None = None,
    ) -> None:
        """Send this when the batch is over; what is signed is `signed`, else its value."""
        held = _Held(key, value, headers, partition, value if signed is None else signed)
        self._held.setdefault(topic, []).append(held)

    def clear(self) -> None:
        """Drop what was added to a transaction that is aborted."""
        self._held.clear()

    def flush(self, out: Output) -> None:
        """Sign and send what was added."""
        for topic, held in self._held.items():
            tokens = self.tokens(topic.name, [record.signed for record in held])
            for record, token in zip(held, tokens, strict=True):
                given: Headers = [*record.headers, (SIGNATURE, token)]
                out.send(topic, record.key, record.value, given, record.partition)
        self._held.clear()
