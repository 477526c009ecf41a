"""How much one sender may send: a bucket that fills with time; for the event loop."""

from __future__ import annotations

from api.hooks.definitions import Limit


class Pace:
    """Of one hook; as much at once as in the whole span, and then as time passes."""

    def __init__(self, limit: Limit, now: float) -> None:
        """Full; `now` is of a monotonic clock."""
        self.limit = limit
        self._left = float(limit.deliveries)
        self._at = now

    def wait(self, now: float) -> float:
        """Take one delivery; 0 where there is room, else the seconds until there is some."""
        rate = self.limit.deliveries / self.limit.per_seconds
        self._left = min(self._left + (now - self._at) * rate, float(self.limit.deliveries))
        self._at = now
        if self._left < 1.0:
            return (1.0 - self._left) / rate
        self._left -= 1.0
        return 0.0
