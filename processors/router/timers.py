"""Timers: when which execution is looked at again."""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Timers:
    """The timers of one partition; one that an earlier one replaced may run for nothing."""

    _heap: list[tuple[float, str]] = field(default_factory=list)
    #: The earliest that stands in the heap for an execution.
    _earliest: dict[str, float] = field(default_factory=dict)

    def next(self) -> float | None:
        """The moment of the first one."""
        return self._heap[0][0] if self._heap else None

    def set(self, execution_id: str, when: float | None) -> None:
        """Look at the execution at `when` at the latest; None and later moments change nothing."""
        if when is None or self._earliest.get(execution_id, float("inf")) <= when:
            return
        self._earliest[execution_id] = when
        heapq.heappush(self._heap, (when, execution_id))

    def due(self, now: float) -> Iterator[str]:
        """Take out the executions whose moment has come; they may be set again meanwhile."""
        while self._heap and self._heap[0][0] <= now:
            when, execution_id = heapq.heappop(self._heap)
            if self._earliest.get(execution_id) == when:
                del self._earliest[execution_id]
            yield execution_id

    def forget(self, execution_id: str) -> None:
        """The execution has ended."""
        self._earliest.pop(execution_id, None)

    def drop_stale(self) -> None:
        """Free what earlier timers replaced, or whose executions have ended."""
        if len(self._heap) > 1_000 + 2 * len(self._earliest):
            self._heap = [(when, name) for name, when in self._earliest.items()]
            heapq.heapify(self._heap)
