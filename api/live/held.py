"""Held: what the hub keeps of the past: the latest records, snapshots, and origins."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final, Generic, TypeVar

#: The latest events of each partition of eight: 64 MiB in all, at most.
EVENT_RECORDS: Final = 20_000
EVENT_BYTES: Final = 8 * 1024 * 1024
#: The latest output of each partition: 16 MiB in all.
OUTPUT_RECORDS: Final = 2_000
OUTPUT_BYTES: Final = 2 * 1024 * 1024
#: Executions whose latest snapshot is known, and the bytes of all of them.
SNAPSHOTS: Final = 20_000
SNAPSHOT_BYTES: Final = 48 * 1024 * 1024
#: Executions of which it is known who asked for them: some 300 bytes each.
ORIGINS: Final = 50_000

V = TypeVar("V")


class Latest(Generic[V]):
    """The latest value of each key; the key that was set first goes beyond the bounds."""

    def __init__(self, most: int, max_bytes: int | None = None) -> None:
        """So many keys; `max_bytes` bounds values that have a length."""
        self._most = most
        self._max_bytes = max_bytes
        self._values: OrderedDict[str, V] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        """How many keys there are."""
        return len(self._values)

    def get(self, key: str) -> V | None:
        """The latest value."""
        return self._values.get(key)

    def put(self, key: str, value: V) -> None:
        """Keep the value in the place of the one before."""
        self.drop(key)
        self._values[key] = value
        self.bytes += self._size(value)
        while len(self._values) > self._most or self._too_many_bytes():
            _, oldest = self._values.popitem(last=False)
            self.bytes -= self._size(oldest)

    def drop(self, key: str) -> None:
        """Forget the key."""
        before = self._values.pop(key, None)
        if before is not None:
            self.bytes -= self._size(before)

    def _too_many_bytes(self) -> bool:
        return (
            self._max_bytes is not None and self.bytes > self._max_bytes and len(self._values) > 1
        )

    def _size(self, value: V) -> int:
        return len(value) if isinstance(value, bytes) else 0
