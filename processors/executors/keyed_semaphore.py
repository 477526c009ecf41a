"""A semaphore per key: how many attempts act on one host or asset at once."""

from __future__ import annotations

import asyncio
from collections import deque


class KeyedSemaphore:
    """Permits by key, first come first served; a key that nobody uses takes no memory."""

    def __init__(self, limit: int) -> None:
        """`limit` permits for each key."""
        self._limit = limit
        self._used: dict[str, int] = {}
        self._waiters: dict[str, deque[asyncio.Future[None]]] = {}

    def used(self, key: str) -> int:
        """How many permits of `key` are taken."""
        return self._used.get(key, 0)

    def waiting(self, key: str) -> int:
        """How many wait for a permit of `key`."""
        return len(self._waiters.get(key, ()))

    def try_acquire(self, key: str) -> bool:
        """Take a permit if there is one; while somebody waits there is none."""
        used = self._used.get(key, 0)
        if used >= self._limit:
            return False
        self._used[key] = used + 1
        return True

    async def acquire(self, key: str) -> None:
        """Wait for a permit; a cancelled wait takes none."""
        if self.try_acquire(key):
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        waiters = self._waiters.setdefault(key, deque())
        waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled():
                # The permit was handed over just before.
                self.release(key)
            else:
                waiters.remove(waiter)
                if not waiters:
                    self._waiters.pop(key, None)
            raise

    def release(self, key: str) -> None:
        """Give a permit back: to the one that waits longest, if there is one."""
        waiters = self._waiters.get(key)
        while waiters:
            waiter = waiters.popleft()
            if not waiters:
                del self._waiters[key]
            if not waiter.done():
                waiter.set_result(None)
                return
        used = self._used[key] - 1
        if used:
            self._used[key] = used
        else:
            del self._used[key]

    def __len__(self) -> int:
        """How many keys are in use."""
        return len(self._used)
