"""How fast one process sends to one receiver: a leaky bucket per receiver, in this process."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from typing import Final

from aiolimiter import AsyncLimiter

#: Receivers kept; beyond that the one longest unused is dropped.
_RECEIVERS: Final = 10_000


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `burst` at once and `per_second` in the long run."""

    per_second: float
    burst: int


@dataclass(slots=True)
class _Bucket:
    limiter: AsyncLimiter
    waiting: int = 0


class RateLimiter:
    """Buckets by key, on one event loop; the limit holds per process, not for all of them."""

    def __init__(self) -> None:
        """Every bucket has room for its burst."""
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    async def acquire(
        self, key: str, rate: Rate, hold: Callable[[int], AbstractContextManager[None]]
    ) -> None:
        """Return when `key` may be used once more, first come first served; a cancel takes nothing.

        `hold` is entered where that means to wait; it is given how many wait before this one. The
        first `rate` of a key counts.
        """
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = _Bucket(AsyncLimiter(rate.burst, rate.burst / rate.per_second))
            self._buckets[key] = bucket
            self._forget()
        self._buckets.move_to_end(key)
        if not bucket.waiting and bucket.limiter.has_capacity():
            await bucket.limiter.acquire()
            return
        with hold(bucket.waiting):
            bucket.waiting += 1
            try:
                await bucket.limiter.acquire()
            finally:
                bucket.waiting -= 1

    def _forget(self) -> None:
        """Drop the buckets longest unused that have no waiters; waiters are bounded by slots."""
        excess = len(self._buckets) - _RECEIVERS
        if excess > 0:
            idle = (key for key, bucket in self._buckets.items() if not bucket.waiting)
            for key in list(islice(idle, excess)):
                del self._buckets[key]

    def __len__(self) -> int:
        """How many receivers are kept."""
        return len(self._buckets)
