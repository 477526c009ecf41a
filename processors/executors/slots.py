"""Slots: how many attempts one lane may hold at once, shared by a claiming thread and the loop."""

from __future__ import annotations

import threading


class Slots:
    """A count with one thread that acquires (the lane) and one that releases (the event loop).

    Each side writes a number of its own, so that a release, once per step, needs no lock and sets
    no event unless the lane waits.
    """

    def __init__(self, limit: int) -> None:
        """All `limit` slots are free."""
        self.limit = limit
        self._acquired = 0
        self._released = 0
        self._waiting = False
        self._wake = threading.Event()

    def free(self) -> int:
        """How many may be acquired now; it only grows until the lane acquires."""
        return self.limit - self.busy()

    def busy(self) -> int:
        """How many are in use."""
        return self._acquired - self._released

    def acquire(self, count: int) -> None:
        """Acquire `count` slots; lane thread only, never more than are free."""
        self._acquired += count

    def release(self) -> None:
        """Release one slot; loop thread only."""
        self._released += 1
        if self._waiting:
            self._wake.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait in the lane thread until a slot is free; False where the time is over first."""
        if self.free() > 0:
            return True
        self._wake.clear()
        self._waiting = True
        try:
            # Checked after `_waiting` is set: a slot released in between sets the event.
            return self.free() > 0 or self._wake.wait(timeout_seconds)
        finally:
            self._waiting = False
