"""The cancelled attempts: a bounded index of `executors.control`."""

from __future__ import annotations

import threading
from collections import OrderedDict
from typing import Final

from processors.executors.forged_cancels import ForgedCancels
from streams.commands import CancelStep

#: As long as a step command can wait in its topic.
KEPT_SECONDS: Final = 7 * 86_400.0
KEPT_ENTRIES: Final = 100_000


class Cancellations:
    """Cancels by attempt id; over the limit the oldest are dropped. Safe from every thread."""

    def __init__(self, limit: int = KEPT_ENTRIES, kept_seconds: float = KEPT_SECONDS) -> None:
        """Hold none."""
        self._limit = limit
        self._kept = kept_seconds
        self._lock = threading.Lock()
        self._known: OrderedDict[str, CancelStep] = OrderedDict()
        #: Those that do not count.
        self.forged = ForgedCancels()

    def __len__(self) -> int:
        """How many are remembered."""
        return len(self._known)

    def add(self, attempt: str, cancel: CancelStep, now: float) -> None:
        """Keep it, unless it is older than every command can be (`now` in Unix seconds)."""
        with self._lock:
            if cancel.at.timestamp() >= now - self._kept:
                self._known[attempt] = cancel
                self._known.move_to_end(attempt)
            while len(self._known) > self._limit:
                self._known.popitem(last=False)

    def expire(self, now: float) -> None:
        """Drop what is too old, in order of arrival (Unix seconds)."""
        with self._lock:
            while self._known:
                first = next(iter(self._known.values()))
                if first.at.timestamp() >= now - self._kept:
                    return
                self._known.popitem(last=False)

    def get(self, attempt: str) -> CancelStep | None:
        """The cancel of this attempt, if any."""
        # A single dictionary access is atomic, and each claim makes one: no lock.
        return self._known.get(attempt)
