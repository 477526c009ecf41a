"""What a lane has read and not claimed yet, in the order in which it is to be claimed.

Pure, but for the records, which are the client's.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from typing import Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, Message

from processors.executors.claimed_offsets import ClaimedOffsets, UnknownNote
from processors.executors.turns import priority_of, turn

#: A partition, by the full name of its topic.
Where = tuple[str, int]

#: So many commands are read ahead of the one that is claimed next, and so many bytes of them.
MOST_READ: Final = 4_000
MOST_BYTES: Final = 16 * 1024 * 1024
#: So many more may come by polls of a lane that has no slot for them.
_POLLED: Final = 500


@dataclass(slots=True, eq=False)
class _Entry:
    """A record that was read."""

    where: Where
    offset: int
    #: None once it is claimed, or its partition is lost.
    message: Message | None


@dataclass(slots=True)
class _Partition:
    claimed: ClaimedOffsets
    #: What was read from `claimed.lowest` on; its first has not been claimed.
    read: deque[_Entry] = field(default_factory=deque)
    #: The offset after the last one that was read.
    next: int = -1
    arrived_at: float = 0.0


#: Its turn, its arrival, and a number that no other has.
_Ranked = tuple[float, float, int, _Entry]


class ReadAhead:
    """The commands of all partitions of a lane that wait; for one thread."""

    def __init__(self) -> None:
        """No partition is known."""
        self._partitions: dict[Where, _Partition] = {}
        #: Those whose turn nobody has needed yet, in the order of their reading.
        self._unranked: deque[_Entry] = deque()
        self._ranked: list[_Ranked] = []
        self._count = 0
        self._waiting = 0
        self._bytes = 0

    def __len__(self) -> int:
        """How many wait."""
        return self._waiting

    @property
    def has_room(self) -> bool:
        """Whether more may be read."""
        return self._waiting < MOST_READ and self._bytes < MOST_BYTES

    @property
    def is_overfull(self) -> bool:
        """Whether nothing more may be read, not even by a poll that only keeps the group."""
        return self._waiting >= MOST_READ + _POLLED or self._bytes >= 2 * MOST_BYTES

    def knows(self, where: Where) -> bool:
        """Whether it is known what was claimed of this partition."""
        return where in self._partitions

    def open(self, where: Where, lowest: int, note: str) -> None:
        """Records of this partition come next, from the committed offset `lowest` on.

        `lowest` is negative where nothing is committed. Raises UnknownNote.
        """
        self.drop([where])
        try:
            claimed = ClaimedOffsets(max(lowest, 0), note)
        except UnknownNote as error:
            raise UnknownNote(f"partition {where[1]} of {where[0]}: {error}") from None
        self._partitions[where] = _Partition(claimed)

    def drop(self, partitions: Collection[Where]) -> None:
        """Forget these partitions, and what waits of them."""
        if not any(where in self._partitions for where in partitions):
            return
        for where in partitions:
            partition = self._partitions.pop(where, None)
            for entry in () if partition is None else partition.read:
                self._leaves(entry)
        self._unranked = deque(entry for entry in self._unranked if entry.message is not None)
        self._compact()

    def clear(self) -> None:
        """Forget every partition."""
        self.drop([*self._partitions])

    def add(self, message: Message) -> None:
        """The next record of a partition that is known."""
        where, offset = place(message), message.offset() or 0
        partition = self._partitions[where]
        if offset < max(partition.next, partition.claimed.lowest):
            # The client began anew: the topic was made anew, or has lost its end.
            self.open(where, offset, "")
            partition = self._partitions[where]
        partition.next = offset + 1
        if not partition.read:
            # Offsets without a command lie between: marks of transactions, what is deleted.
            partition.claimed.raise_to(offset)
        entry = _Entry(where, offset, None if offset in partition.claimed else message)
        partition.read.append(entry)
        if entry.message is None:
            self._advance(partition)
            return
        self._unranked.append(entry)
        self._waiting += 1
        self._bytes += len(message)

    def take(self, count: int, now: float) -> list[Message]:
        """The `count` that are next, or all there are; from now on they count as claimed.

        `now` by the broker's clock, in Unix seconds. Where all are taken their order is that in
        which they were read.
        """
        taken: list[Message] = []
        if self._waiting > count or self._ranked:
            self._rank(now)
        while len(taken) < count:
            entry = self._next()
            if entry is None:
                break
            message = entry.message
            assert message is not None  # noqa: S101
            partition = self._partitions[entry.where]
            partition.claimed.add(entry.offset)
            self._leaves(entry)
            self._advance(partition)
            taken.append(message)
        if len(self._ranked) > 2 * (self._waiting + MOST_READ):
            self._compact()
        return taken

    def claims(self, taken: Iterable[Message]) -> tuple[dict[Where, int], dict[Where, str]]:
        """The offsets to commit once `taken` is claimed, and the notes to write with them."""
        offsets: dict[Where, int] = {}
        notes: dict[Where, str] = {}
        for where in {place(message) for message in taken}:
            claimed = self._partitions[where].claimed
            offsets[where] = claimed.lowest
            if note := claimed.note():
                notes[where] = note
        return offsets, notes

    def _next(self) -> _Entry | None:
        if self._unranked:
            return self._unranked.popleft()
        while self._ranked:
            entry = self._ranked[0][-1]
            if entry.message is None:
                heappop(self._ranked)
                continue
            partition = self._partitions[entry.where]
            if partition.claimed.reaches(entry.offset):
                heappop(self._ranked)
                return entry
            # It cannot be claimed so far ahead: in its place, what keeps it from that.
            return partition.read[0]
        return None

    def _rank(self, now: float) -> None:
        """Put what is not ranked yet in its place."""
        for entry in self._unranked:
            message = entry.message
            assert message is not None  # noqa: S101
            partition = self._partitions[entry.where]
            kind, milliseconds = message.timestamp()
            arrived = milliseconds / 1_000 if kind == TIMESTAMP_LOG_APPEND_TIME else now
            # A clock that was set makes no order within a partition, and nobody wait for ever.
            arrived = max(partition.arrived_at, min(arrived, now))
            partition.arrived_at = arrived
            self._count += 1
            due = turn(arrived, priority_of(message.value()))
            heappush(self._ranked, (due, arrived, self._count, entry))
        self._unranked.clear()

    def _leaves(self, entry: _Entry) -> None:
        if entry.message is not None:
            self._waiting -= 1
            self._bytes -= len(entry.message)
            entry.message = None

    def _advance(self, partition: _Partition) -> None:
        """Raise the lowest offset that is not claimed as far as it goes."""
        read = partition.read
        while read and read[0].message is None:
            read.popleft()
        partition.claimed.raise_to(read[0].offset if read else partition.next)

    def _compact(self) -> None:
        """Drop what is left of those that went out of their turn."""
        self._ranked = [one for one in self._ranked if one[-1].message is not None]
        heapify(self._ranked)


def place(message: Message) -> Where:
    """The partition of a record."""
    return str(message.topic()), int(message.partition() or 0)
