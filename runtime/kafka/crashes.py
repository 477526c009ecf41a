"""Records that end the process: noticed by marks in the metadata of the committed offsets.

What is committed survives a kill, and is read by whichever process takes the partition over. A
process that takes partitions marks their offsets `taken`; a commit of progress overwrites the mark,
and SETTLED_SECONDS later, or when the process stops, what is left of the marks is removed. Who
finds a mark knows that its predecessor ended before it got any further. After one such end it
decides the next records in slices, marked `taken:2`; after two it decides those of one slice one by
one, each marked `deciding:n` before. So a single kill costs little, however much is to be done. A
record that was marked LIMIT times, and is still the next one, is suspected; a mark does not say why
the process ended, so only `trial` proves it.

Marks are committed by the producer of the transactions: commits of one client keep their order, so
none takes back the offsets of a later transaction, and each is checked for the generation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from runtime import clock
from runtime.kafka.outcome import Outcome
from runtime.kafka.restore import NO_PROGRESS_SECONDS
from runtime.kafka.transaction import Transactions

#: How often the process may end while a record is decided alone, until that record is suspected;
#: at most three times before, with the records of its batch, and nobody can tell which it was.
LIMIT: Final = 2
SETTLED_SECONDS: Final = 30.0
#: The loop takes no more at once, and no more records or parts of them into one transaction, so a
#: batch that ended the process held no more.
BATCH_RECORDS: Final = 1_000
#: A slice, and so the records of a partition that are decided one by one: two transactions each.
SLICE_RECORDS: Final = 100
_TAKEN: Final = "taken"
_DECIDING: Final = "deciding:"


@dataclass(slots=True)
class Crashes:
    """The marks of one session; one thread."""

    consumer: Any
    transactions: Transactions
    #: Per source partition the record that this process marked last, with its count before: where
    #: that mark is found again, Kafka had failed and not the process. Shared by all sessions.
    survived: dict[tuple[str, int], tuple[int, int]]
    #: How many records of a partition are still decided in slices.
    sliced: dict[int, int] = field(default_factory=dict)
    #: How many of them are still decided one by one.
    careful: dict[int, int] = field(default_factory=dict)
    #: For an offset at which a predecessor ended: how often it did while deciding it alone.
    _ended: dict[tuple[str, int, int], int] = field(default_factory=dict)
    #: The offsets that are marked `taken`, until they are settled.
    _taken: dict[tuple[str, int], int] = field(default_factory=dict)
    _settled_at: float = 0.0

    def taken(self, topics: Iterable[str], partitions: Sequence[int]) -> None:
        """Read the marks of partitions that were assigned, and mark them; raises KafkaException.

        `topics` are full names. Returns when the broker has the marks.
        """
        wanted = [TopicPartition(topic, number) for topic in topics for number in partitions]
        marked: dict[tuple[str, int], int] = {}
        texts: dict[str, dict[tuple[str, int], int]] = {}
        for one in self.consumer.committed(wanted, timeout=NO_PROGRESS_SECONDS):
            if one.error is not None:
                raise KafkaException(one.error)
            where = (one.topic, one.partition)
            offset = max(one.offset, 0)  # Below 0 where nothing is committed.
            mark = one.metadata or ""
            ends = _ends(mark)
            if ends > 0:
                self.sliced[one.partition] = BATCH_RECORDS
            if ends > 1:
                self.careful[one.partition] = SLICE_RECORDS
            if mark.startswith(_DECIDING):
                self._ended[(*where, offset)] = self._times(where, offset, mark)
            else:
                marked[where] = offset
                text = f"{_TAKEN}:{ends + 1}" if ends else _TAKEN
                texts.setdefault(text, {})[where] = offset
        for text, offsets in texts.items():
            self._commit(offsets, text)
        self._taken |= marked
        self._settled_at = clock.monotonic() + SETTLED_SECONDS

    def _times(self, where: tuple[str, int], offset: int, mark: str) -> int:
        last, before = self.survived.get(where, (-1, 0))
        if last == offset:
            return before
        count = mark.removeprefix(_DECIDING)
        return int(count) if count.isdigit() else 1

    def moved(self, offsets: Mapping[tuple[str, int], int]) -> None:
        """These offsets are committed, which has overwritten their marks."""
        if self._taken:
            for where in offsets:
                self._taken.pop(where, None)

    def settle(self, *, now: bool = False) -> None:
        """Remove the marks that are left, once their time is over or `now`.

        Raises KafkaException.
        """
        if not self._taken or (not now and clock.monotonic() < self._settled_at):
            return
        self._commit(self._taken, "")
        self._taken.clear()
        self.careful.clear()
        self.sliced.clear()

    def given_back(self) -> None:
        """The partitions go to other members: remove the marks that are left, waiting for nothing.

        A rebalance must not wait for a broker that does not answer. Whatever comes of this, no
        transaction of this generation follows, and a later generation's offsets are safe from it:
        the broker refuses commits of an older one. Where it is lost, the next owner is careful.
        """
        left = [TopicPartition(*where, offset, "") for where, offset in self._taken.items()]
        if left:
            with contextlib.suppress(KafkaException):
                self.consumer.commit(offsets=left, asynchronous=True)
        self.clear()

    def is_suspected(self, message: Message) -> bool:
        """Whether the process has ended LIMIT times while this record was decided alone."""
        return self._ended.get(_place(message), 0) >= LIMIT

    def deciding(self, message: Message) -> None:
        """Mark the record that is decided next; returns when the broker has the mark.

        Everything before it in its partition must have been decided. Raises KafkaException.
        """
        topic, number, offset = _place(message)
        self._taken.pop((topic, number), None)
        before = self._ended.get((topic, number, offset), 0)
        self.survived[topic, number] = (offset, before)
        self._commit({(topic, number): offset}, f"{_DECIDING}{before + 1}")

    def decided(self, message: Message) -> None:
        """The record did not end the process."""
        self._ended.pop(_place(message), None)
        number = message.partition() or 0
        left = self.careful.get(number, 0) - 1
        if left > 0:
            self.careful[number] = left
        else:
            self.careful.pop(number, None)

    def passed(self, messages: Sequence[Message]) -> None:
        """These records did not end the process."""
        for message in messages:
            number = message.partition() or 0
            left = self.sliced.get(number, 0) - 1
            if left > 0:
                self.sliced[number] = left
            else:
                self.sliced.pop(number, None)

    def clear(self) -> None:
        """No partition is assigned any more."""
        self.sliced.clear()
        self.careful.clear()
        self._ended.clear()
        self._taken.clear()

    def _commit(self, offsets: Mapping[tuple[str, int], int], text: str) -> None:
        if self.transactions.commit(offsets, self.consumer, text) is not Outcome.COMMITTED:
            raise KafkaException(self.transactions.last_error or KafkaError(KafkaError._FAIL))


def _ends(mark: str) -> int:
    """How often the process ended in a row without progress, as far as a mark tells: 2 is more."""
    if mark.startswith(_DECIDING):
        return 2
    return 0 if not mark.startswith(_TAKEN) else 1 if mark == _TAKEN else 2


def _place(message: Message) -> tuple[str, int, int]:
    return str(message.topic()), message.partition() or 0, message.offset() or 0
