"""The limit per target: how many attempts act on one host or asset at once."""

from __future__ import annotations

import asyncio
from collections import deque


class Targets:
    """Permits by target, first come first served; a target nobody uses takes no memory."""

    def __init__(self, limit: int) -> None:
        """`limit` permits for each target."""
        self._limit = limit
        self._used: dict[str, int] = {}
        self._queues: dict[str, deque[asyncio.Future[None]]] = {}

    def try_acquire(self, target: str) -> bool:
        """Take a permit if there is one and nobody waits for it."""
        used = self._used.get(target, 0)
        if used >= self._limit:
            return False
        self._used[target] = used + 1
        return True

    async def acquire(self, target: str) -> None:
        """Wait for a permit; a cancelled wait takes none."""
        if self.try_acquire(target):
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        queue = self._queues.setdefault(target, deque())
        queue.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                # The permit was handed to us just before.
                self.release(target)
            else:
                queue.remove(turn)
                if not queue:
                    self._queues.pop(target, None)
            raise

    def release(self, target: str) -> None:
        """Give a permit back: to the longest waiting, if there is one."""
        queue = self._queues.get(target)
        while queue:
            turn = queue.popleft()
            if not queue:
                del self._queues[target]
            if not turn.done():
                turn.set_result(None)
                return
        used = self._used[target] - 1
        if used:
            self._used[target] = used
        else:
            del self._used[target]

    def __len__(self) -> int:
        """How many targets are in use."""
        return len(self._used)
