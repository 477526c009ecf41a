"""The state of one partition: its executions, and which of them are due for a snapshot.

Pure: it holds state, but knows no Kafka and no clock. Memory is bounded by the living executions
plus `FINISHED_KEPT` finished ones, of which only the id and the last number are kept.
"""

from __future__ import annotations

import heapq
from collections import Counter, OrderedDict
from typing import Final, Literal, NamedTuple

from processors.progress.fold import fold
from processors.progress.snapshot import overdue_at
from processors.progress.state import Progress
from streams.events import Event

#: Finished executions whose duplicates are still recognised, per partition. Duplicates follow
#: within seconds (a replay after a restart), so minutes of full load are plenty.
FINISHED_KEPT: Final = 20_000

#: Seconds between two snapshots of a living execution; the last one never waits.
SPACING: Final = 0.2

#: Seconds after which a running execution is shown anew although nothing was heard of it: its
#: estimate and its percent move with the time.
REFRESH: Final = 2.0

Outcome = Literal["folded", "gap", "duplicate", "after_end", "unknown"]


class FoldResult(NamedTuple):
    """What an event did; `progress` only where it changed something."""

    outcome: Outcome
    progress: Progress | None = None


class _Unpublished(NamedTuple):
    offset: int
    due_at: float


class PartitionState:
    """Folds the events of one partition and says what to publish, once each."""

    def __init__(self, position: int = 0) -> None:
        """Start with no execution; `position` is the offset of the next event."""
        self.position = position
        #: Time of the newest event, Unix seconds.
        self.stream_time = 0.0
        self.live: dict[str, Progress] = {}
        #: Living executions by status.
        self.statuses: Counter[str] = Counter()
        self._finished: OrderedDict[str, int] = OrderedDict()
        self._unpublished: dict[str, _Unpublished] = {}
        self._published_at: dict[str, float] = {}
        #: The same, the oldest first, of what may have to be shown anew.
        self._fresh: OrderedDict[str, float] = OrderedDict()
        self._deadlines: list[tuple[float, str]] = []

    def restore(self, progress: Progress) -> None:
        """Go on with a living execution whose snapshot has been published before."""
        self.live[progress.facts.execution_id] = progress
        self.statuses[progress.status] += 1
        self.stream_time = max(self.stream_time, progress.updated_at)
        self._fresh[progress.facts.execution_id] = 0.0
        self._await_deadline(progress)

    def finish(self, execution_id: str, seq: int) -> None:
        """The execution has ended with event `seq`, and that is published."""
        self.live.pop(execution_id, None)
        self._published_at.pop(execution_id, None)
        self._fresh.pop(execution_id, None)
        self._finished[execution_id] = seq
        self._finished.move_to_end(execution_id)
        while len(self._finished) > FINISHED_KEPT:
            self._finished.popitem(last=False)
        if len(self._deadlines) > 2 * len(self.live) + 1_000:
            self._deadlines = [entry for entry in self._deadlines if entry[1] in self.live]
            heapq.heapify(self._deadlines)

    def process(self, offset: int, event: Event) -> FoldResult:
        """Fold the event at `offset`. An exception leaves the state as it was."""
        ident = event.execution_id
        before = self.live.get(ident)
        ended_with = self._finished.get(ident)
        if before is None and ended_with is not None:
            return FoldResult("duplicate" if event.seq <= ended_with else "after_end")
        after = fold(before, event)
        if after is None:
            return FoldResult("unknown")
        self.stream_time = max(self.stream_time, after.updated_at)
        if before is not None and after is before:
            return FoldResult("duplicate" if event.seq <= before.seq else "after_end")
        self.live[ident] = after
        if before is not None:
            self.statuses[before.status] -= 1
        if after.ended_at is None:
            self.statuses[after.status] += 1
        self._mark_unpublished(ident, offset)
        if before is None:
            self._await_deadline(after)
        missed = event.seq != (before.seq if before is not None else 0) + 1
        return FoldResult("gap" if missed else "folded", after)

    def mark_overdue(self, now: float) -> None:
        """Make living executions due whose SLA deadline lies before `now` (Unix seconds)."""
        while self._deadlines and self._deadlines[0][0] < now:
            deadline, ident = heapq.heappop(self._deadlines)
            progress = self.live.get(ident)
            if progress is not None and overdue_at(progress) == deadline:
                self._mark_unpublished(ident, self.position)

    def mark_stale(self, monotonic: float, limit: int) -> int:
        """Make at most `limit` running executions due that were last shown `REFRESH` ago or
        earlier; how many these are. What does not run is looked at again after its next event."""
        marked = 0
        while marked < limit and self._fresh:
            ident, shown_at = next(iter(self._fresh.items()))
            if shown_at + REFRESH > monotonic:
                break
            del self._fresh[ident]
            if ident not in self._unpublished and self.live[ident].status == "running":
                self._mark_unpublished(ident, self.position)
                marked += 1
        return marked

    def due(self, monotonic: float, limit: int) -> list[Progress]:
        """The executions to publish now, at most `limit`; ended ones need not wait."""
        found: list[Progress] = []
        for ident, entry in self._unpublished.items():
            progress = self.live[ident]
            if progress.ended_at is not None or entry.due_at <= monotonic:
                found.append(progress)
                if len(found) == limit:
                    break
        return found

    @property
    def has_unpublished(self) -> bool:
        """Whether a state has changed since it was last published."""
        return bool(self._unpublished)

    def low_water(self) -> int:
        """The offset to go on from after a crash: whatever lies before it has been published."""
        return min((entry.offset for entry in self._unpublished.values()), default=self.position)

    def published(self, sent: list[Progress], monotonic: float) -> None:
        """These states have been delivered, as `record` returned them for those that `due` gave;
        nothing was folded meanwhile."""
        for progress in sent:
            ident = progress.facts.execution_id
            self._unpublished.pop(ident, None)
            if progress.ended_at is not None:
                self.finish(ident, progress.seq)
            else:
                self.live[ident] = progress
                self._published_at[ident] = self._fresh[ident] = monotonic
                self._fresh.move_to_end(ident)

    def _mark_unpublished(self, ident: str, offset: int) -> None:
        if ident not in self._unpublished:
            last = self._published_at.get(ident)
            self._unpublished[ident] = _Unpublished(offset, 0.0 if last is None else last + SPACING)

    def _await_deadline(self, progress: Progress) -> None:
        deadline = overdue_at(progress)
        if deadline is not None:
            heapq.heappush(self._deadlines, (deadline, progress.facts.execution_id))
