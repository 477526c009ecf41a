"""Ring: the latest records of one partition, within bounds of number and bytes; pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import Generic, NamedTuple, Protocol, TypeVar


class Held(Protocol):
    """What a ring holds."""

    @property
    def offset(self) -> int:
        """Its place in the partition."""
        ...

    @property
    def value(self) -> bytes:
        """Its bytes."""
        ...


R = TypeVar("R", bound=Held)


class Piece(NamedTuple, Generic[R]):
    """Records of one partition in order, and from where on to ask for the next ones."""

    records: list[R]
    position: int
    at_end: bool


class Ring(Generic[R]):
    """Every record from `start` on, up to `end`."""

    def __init__(self, max_records: int, max_bytes: int) -> None:
        """It is empty, and begins at no place yet: `restart` says where."""
        self._max_records = max_records
        self._max_bytes = max_bytes
        #: The first `_gone` are let go; they leave the list now and then, all together.
        self._records: list[R | None] = []
        self._gone = 0
        self.bytes = 0
        self.start = self.end = 0

    def __len__(self) -> int:
        """How many records it holds."""
        return len(self._records) - self._gone

    def restart(self, position: int) -> None:
        """Hold nothing, and what follows from this offset on."""
        self._records.clear()
        self._gone = self.bytes = 0
        self.start = self.end = position

    def append(self, record: R) -> None:
        """Hold the next record of the partition, and let the oldest go beyond the bounds."""
        self._records.append(record)
        self.bytes += len(record.value)
        self.end = record.offset + 1
        while len(self) > self._max_records or (self.bytes > self._max_bytes and len(self) > 1):
            self._let_go()
        if self._gone > 256 and self._gone * 2 > len(self._records):
            del self._records[: self._gone]
            self._gone = 0

    def _let_go(self) -> None:
        oldest = self._records[self._gone]
        assert oldest is not None  # noqa: S101
        self._records[self._gone] = None
        self._gone += 1
        self.bytes -= len(oldest.value)
        self.start = oldest.offset + 1

    def covers(self, position: int) -> bool:
        """Whether it holds everything from this offset on."""
        return position >= self.start

    def since(self, position: int, wanted: Callable[[R], bool], max_bytes: int) -> Piece[R]:
        """The records that are wanted, from an offset on that the ring covers.

        At least one, where there is one; then as many as have so many bytes together.
        """
        found: list[R] = []
        size = 0
        at = bisect_left(self._records, position, lo=self._gone, key=_offset)
        for index in range(at, len(self._records)):
            record = self._records[index]
            if record is None or not wanted(record):
                continue
            if found and size + len(record.value) > max_bytes:
                return Piece(found, record.offset, at_end=False)
            found.append(record)
            size += len(record.value)
        return Piece(found, max(position, self.end), at_end=True)


def _offset(record: Held | None) -> int:
    return -1 if record is None else record.offset
