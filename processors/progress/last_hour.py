"""Counts of the last hour: executions by tenant and steps by tool, with their outcome. Pure.

The hour ends at the newest event, in slices of a minute. Labels are bounded: beyond `LABELS`
names the rest counts as `other`. A restart begins with no counts.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import Final

from streams.events import Event
from streams.lifecycle import STATUS_AFTER, STEP_STATUS_AFTER, TERMINAL_EVENTS

SLICE_SECONDS: Final = 60
SLICES: Final = 60
LABELS: Final = 250
OTHER: Final = "other"

#: ("tenant" or "tool", its name, the outcome).
Key = tuple[str, str, str]

_STEP_ENDS: Final = frozenset({"step.succeeded", "step.failed", "step.timed_out", "step.lost"})


class LastHour:
    """Counts by key over the last hour, by the time of the events."""

    def __init__(self) -> None:
        """Start with nothing counted."""
        self._slices: deque[tuple[int, Counter[Key]]] = deque()
        self._names: dict[str, set[str]] = {"tenant": set(), "tool": set()}
        self.totals: Counter[Key] = Counter()

    def count(self, event: Event, tool: str | None) -> None:
        """Count the event if it ends an execution or an attempt of a step with `tool`."""
        if event.type in TERMINAL_EVENTS:
            self._add("tenant", event.tenant, STATUS_AFTER[event.type], event.unix())
        elif event.type in _STEP_ENDS and tool:
            self._add("tool", tool, STEP_STATUS_AFTER[event.type], event.unix())

    def advance(self, now: float) -> None:
        """Drop what is older than an hour before `now` (Unix seconds)."""
        oldest = int(now // SLICE_SECONDS) - SLICES + 1
        while self._slices and self._slices[0][0] < oldest:
            _, gone = self._slices.popleft()
            self.totals.subtract(gone)
            for key in gone:
                if self.totals[key] <= 0:
                    del self.totals[key]

    def _add(self, kind: str, name: str, outcome: str, at: float) -> None:
        names = self._names[kind]
        if name not in names:
            if len(names) >= LABELS:
                name = OTHER
            else:
                names.add(name)
        number = int(at // SLICE_SECONDS)
        if self._slices and number < self._slices[-1][0]:
            # Partitions are not read in step: count a late event where its minute still is.
            found = next((c for n, c in reversed(self._slices) if n <= number), None)
            if found is None:
                return
            found[(kind, name, outcome)] += 1
        else:
            if not self._slices or number > self._slices[-1][0]:
                self._slices.append((number, Counter()))
                self.advance(at)
            self._slices[-1][1][(kind, name, outcome)] += 1
        self.totals[(kind, name, outcome)] += 1
