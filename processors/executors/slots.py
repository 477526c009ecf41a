"""Slots: how many attempts one lane may hold at once, shared by a claiming thread and the loop."""

from __future__ import annotations

import threading


class Slots:
    """A count with one thread that takes (the lane) and one that gives back (the event loop).

    Each side writes a number of its own, so that giving back, which happens once per step, needs
    no lock and wakes nobody unless the lane waits.
    """

    def __init__(self, limit: int) -> None:
        """All `limit` slots are free."""
        self.limit = limit
        self._taken = 0
        self._given = 0
        self._waiting = False
        self._wake = threading.Event()

    def free(self) -> int:
        """How many may be taken now; it only grows until the lane takes."""
        return self.limit - self.busy()

    def busy(self) -> int:
        """How many are taken."""
        return self._taken - self._given

    def take(self, count: int) -> None:
        """Take `count` slots; lane thread only, never more than are free."""
        self._taken += count

    def give(self) -> None:
        """Give one slot back; loop thread only."""
        self._given += 1
        if self._waiting:
            self._wake.set()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait in the lane thread until a slot is free; False where the time is over first."""
        if self.free() > 0:
            return True
        self._wake.clear()
        self._waiting = True
        try:
            # Looked at after `_waiting` is set: a slot given in between wakes us.
            return self.free() > 0 or self._wake.wait(timeout_seconds)
        finally:
            self._waiting = False
