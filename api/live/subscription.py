"""Subscription: what waits for one reader, bounded; for the thread of the event loop."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

from api.live.ring import Held

#: What a record costs beside its bytes.
_OVERHEAD: Final = 64

R = TypeVar("R", bound=Held)


class Subscription(Generic[R]):
    """Records for one reader, until it takes them.

    One that does not take them in time has `overflowed`: everything is let go, and nothing more is
    added.
    """

    def __init__(
        self,
        limit: Callable[[], int],
        wanted: Callable[[R], bool] | None = None,
        news: asyncio.Event | None = None,
        *,
        least: int = 0,
    ) -> None:
        """`limit` is how many bytes may wait, never less than `least`; `wanted` None: everything.

        `news` is set when something comes; a reader of two subscriptions gives both the same.
        """
        self._limit = limit
        self._least = least
        self._wanted = wanted
        self._records: deque[R] = deque()
        self._bytes = 0
        self._news = asyncio.Event() if news is None else news
        self.overflowed = False
        #: The latest progress snapshot that was not taken; an older one is of no use.
        self.progress: bytes | None = None

    @property
    def is_empty(self) -> bool:
        """Whether the reader has taken everything that came."""
        return not self._records and not self.overflowed

    def add(self, record: R) -> None:
        """Keep a record for the reader, and wake it."""
        wanted = self._wanted
        if self.overflowed or (wanted is not None and not wanted(record)):
            return
        records = self._records
        records.append(record)
        self._bytes += len(record.value) + _OVERHEAD
        # Called for each record and reader: the limit is asked for only where it may be reached.
        if self._bytes > self._least and len(records) > 1 and self._bytes > self._limit():
            self.overflowed = True
            records.clear()
            self.progress = None
        if not self._news.is_set():
            self._news.set()

    def show(self, progress: bytes) -> None:
        """Keep the latest snapshot for the reader, and wake it."""
        if not self.overflowed:
            self.progress = progress
            self._news.set()

    def wake(self) -> None:
        """Let the reader look at what else has changed."""
        self._news.set()

    def take(self, max_bytes: int) -> list[R]:
        """The oldest records: at least one where there is one, then as many as fit."""
        taken: list[R] = []
        size = 0
        records = self._records
        while records and (not taken or size + len(records[0].value) <= max_bytes):
            record = records.popleft()
            size += len(record.value)
            taken.append(record)
        self._bytes -= size + _OVERHEAD * len(taken)
        return taken

    def take_progress(self) -> bytes | None:
        """The latest snapshot, once."""
        found, self.progress = self.progress, None
        return found

    async def wait(self, seconds: float) -> None:
        """Until there is something, at most so long."""
        if not (self._records or self.progress is not None or self.overflowed):
            try:
                async with asyncio.timeout(seconds):
                    await self._news.wait()
            except TimeoutError:
                return
        self._news.clear()
