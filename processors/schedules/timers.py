"""Timers: when which schedule is looked at again."""

from __future__ import annotations

import heapq
from dataclasses import dataclass, field


@dataclass(slots=True)
class Timers:
    """One moment for each key; what an earlier call has set for it does not count any more."""

    _heap: list[tuple[float, str]] = field(default_factory=list)
    _at: dict[str, float] = field(default_factory=dict)

    def set(self, key: str, when: float | None) -> None:
        """Look at this key at `when`; never where it is None."""
        if when is None:
            self._at.pop(key, None)
        elif self._at.get(key) != when:
            self._at[key] = when
            heapq.heappush(self._heap, (when, key))
        if len(self._heap) > 1_000 + 2 * len(self._at):
            self._heap = [(moment, name) for name, moment in self._at.items()]
            heapq.heapify(self._heap)

    def next(self) -> float | None:
        """The first moment."""
        while self._heap and self._at.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def take(self, now: float) -> str | None:
        """A key whose moment has come; it has none then, until one is set again."""
        first = self.next()
        if first is None or first > now:
            return None
        key = heapq.heappop(self._heap)[1]
        del self._at[key]
        return key
