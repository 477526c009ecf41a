"""Hub: gives every record to those who follow it, and keeps the latest ones for who comes back.

All of it is for the thread of the event loop. What reads the topics is `api.live.reading`, which
hands over batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeVar

from api.live import held, metrics
from api.live.cursor import Cursor
from api.live.held import Latest
from api.live.records import LiveChunk, LiveEvent, Origin
from api.live.ring import Held, Piece, Ring
from api.live.subscription import Subscription
from streams.topics import EVENTS, OUTPUT

#: What may wait for all readers together, if no two waited for the same records; how much of it is
#: for one follows from how many there are, within these bounds.
ALL_WAITING_BYTES: Final = 512 * 1024 * 1024
MOST_WAITING_BYTES: Final = 4 * 1024 * 1024
LEAST_WAITING_BYTES: Final = 256 * 1024


class Snapshot(NamedTuple):
    """One record of `execution.progress`; without a value the execution is forgotten."""

    execution_id: str
    value: bytes | None


@dataclass(slots=True)
class Batch:
    """Records in the order of their partitions."""

    events: list[LiveEvent] = field(default_factory=list)
    chunks: list[LiveChunk] = field(default_factory=list)
    snapshots: list[Snapshot] = field(default_factory=list)


K = TypeVar("K", str, bytes)
R = TypeVar("R", bound=Held)
EventSubscription = Subscription[LiveEvent]
OutputSubscription = Subscription[LiveChunk]


class Hub:
    """What is known of the present, and who follows it."""

    def __init__(self) -> None:
        """Nothing is known yet: `begin` says from where on."""
        self._rings: list[Ring[LiveEvent]] = [
            Ring(held.EVENT_RECORDS, held.EVENT_BYTES) for _ in range(EVENTS.partitions)
        ]
        self._output: list[Ring[LiveChunk]] = [
            Ring(held.OUTPUT_RECORDS, held.OUTPUT_BYTES) for _ in range(OUTPUT.partitions)
        ]
        self._snapshots: Latest[bytes] = Latest(held.SNAPSHOTS, held.SNAPSHOT_BYTES)
        self.origins: Latest[Origin] = Latest(held.ORIGINS)
        self._of_execution: dict[str, set[EventSubscription]] = {}
        self._of_tenant: dict[str, set[EventSubscription]] = {}
        self._of_route: dict[bytes, set[OutputSubscription]] = {}
        self._cursor = Cursor([0] * EVENTS.partitions)
        #: How many streams are open.
        self.readers = 0
        #: Set once the latest records are in memory: before, nobody can follow anything.
        self.ready = asyncio.Event()
        #: Whether the broker does not answer.
        self.away = False
        #: How often the positions were lost, since a topic was made anew or records expired unread.
        self.restarts = 0

    # -- what the reading thread says ------------------------------------------------------------

    def begin(self, events: list[int], output: list[int]) -> None:
        """Records come from these offsets on."""
        for ring, position in zip(self._rings, events, strict=True):
            ring.restart(position)
        for other, position in zip(self._output, output, strict=True):
            other.restart(position)
        self._cursor = Cursor(events)
        if self.ready.is_set():
            self.restarts += 1
            self.wake_all()

    def set_ready(self) -> None:
        """The latest records are in memory."""
        self.ready.set()

    def deliver(self, batch: Batch) -> None:
        """Hand out records."""
        for event in batch.events:
            self._deliver_event(event)
        for chunk in batch.chunks:
            self._output[chunk.partition].append(chunk)
            for follower in self._of_route.get(chunk.route, ()):
                follower.add(chunk)
        for snapshot in batch.snapshots:
            if snapshot.value is None:
                self._snapshots.drop(snapshot.execution_id)
                continue
            self._snapshots.put(snapshot.execution_id, snapshot.value)
            for reader in self._of_execution.get(snapshot.execution_id, ()):
                reader.show(snapshot.value)
        self._count(batch)

    def _deliver_event(self, event: LiveEvent) -> None:
        self._rings[event.partition].append(event)
        self._cursor.move(event.partition, event.offset + 1)
        if event.origin is not None:
            self.origins.put(event.execution_id, event.origin)
        for follower in self._of_execution.get(event.execution_id, ()):
            follower.add(event)
        readers = self._of_tenant.get(event.tenant)
        if readers:
            event.cursor = self._cursor.text()
            for reader in readers:
                reader.add(event)

    def _count(self, batch: Batch) -> None:
        metrics.RECORDS.labels("events").inc(len(batch.events))
        metrics.RECORDS.labels("output").inc(len(batch.chunks))
        metrics.RECORDS.labels("progress").inc(len(batch.snapshots))
        metrics.HELD.labels("events").set(sum(map(len, self._rings)))
        metrics.HELD_BYTES.labels("events").set(sum(ring.bytes for ring in self._rings))
        metrics.HELD.labels("output").set(sum(map(len, self._output)))
        metrics.HELD_BYTES.labels("output").set(sum(ring.bytes for ring in self._output))
        metrics.HELD.labels("progress").set(len(self._snapshots))
        metrics.HELD_BYTES.labels("progress").set(self._snapshots.bytes)

    def set_away(self, away: bool) -> None:
        """The broker does not answer, or does again."""
        if away != self.away:
            self.away = away
            metrics.AWAY.set(away)
            self.wake_all()

    def wake_all(self) -> None:
        """Let every reader look at what has changed."""
        followers: list[set[EventSubscription]] = [
            *self._of_execution.values(),
            *self._of_tenant.values(),
        ]
        for events in followers:
            for reader in events:
                reader.wake()
        for chunks in self._of_route.values():
            for follower in chunks:
                follower.wake()

    # -- what readers ask ------------------------------------------------------------------------

    def cursor(self) -> Cursor:
        """Where a reader of everything stands who begins now."""
        return self._cursor.copy()

    def position(self, partition: int) -> int:
        """The next offset of a partition of the events."""
        return self._cursor.positions[partition]

    def covers(self, partition: int, position: int) -> bool:
        """Whether the events of a partition are in memory from this offset on."""
        return self._rings[partition].covers(position)

    def events(
        self, partition: int, position: int, wanted: Callable[[LiveEvent], bool], max_bytes: int
    ) -> Piece[LiveEvent]:
        """Events from an offset on that is covered; at the end, subscribe before the next await."""
        return self._rings[partition].since(position, wanted, max_bytes)

    def held_events(self, partition: int, execution_id: str) -> list[LiveEvent]:
        """All events of an execution that are in memory."""
        ring = self._rings[partition]
        return ring.since(
            ring.start, lambda event: event.execution_id == execution_id, held.EVENT_BYTES
        ).records

    def output_covers(self, partition: int, position: int) -> bool:
        """Whether the output of a partition is in memory from this offset on."""
        return self._output[partition].covers(position)

    def chunks(
        self, partition: int, position: int, wanted: Callable[[LiveChunk], bool], max_bytes: int
    ) -> Piece[LiveChunk]:
        """The same for output."""
        return self._output[partition].since(position, wanted, max_bytes)

    def output_start(self, partition: int) -> int:
        """From which offset on the output of a partition is in memory."""
        return self._output[partition].start

    def snapshot(self, execution_id: str) -> bytes | None:
        """The latest snapshot of an execution, where it is in memory."""
        return self._snapshots.get(execution_id)

    def follow_execution(
        self, execution_id: str, news: asyncio.Event | None = None
    ) -> EventSubscription:
        """Every event and snapshot of an execution, from the next one on.

        `news` is what else the reader waits for.
        """
        made = EventSubscription(self._waiting_bytes, news=news, least=LEAST_WAITING_BYTES)
        self._of_execution.setdefault(execution_id, set()).add(made)
        return made

    def leave_execution(self, execution_id: str, one: EventSubscription) -> None:
        """The opposite; that it was left before is no error."""
        _leave(self._of_execution, execution_id, one)

    def follow_tenant(
        self, tenant: str, wanted: Callable[[LiveEvent], bool] | None
    ) -> EventSubscription:
        """Every event of a tenant that is wanted, from the next one on; None: all of them."""
        made = EventSubscription(self._waiting_bytes, wanted, least=LEAST_WAITING_BYTES)
        self._of_tenant.setdefault(tenant, set()).add(made)
        return made

    def leave_tenant(self, tenant: str, one: EventSubscription) -> None:
        """The opposite."""
        _leave(self._of_tenant, tenant, one)

    def follow_output(
        self, route: bytes, wanted: Callable[[LiveChunk], bool], news: asyncio.Event
    ) -> OutputSubscription:
        """The output with this route key that is wanted, from the next chunk on."""
        made = OutputSubscription(self._waiting_bytes, wanted, news, least=LEAST_WAITING_BYTES)
        self._of_route.setdefault(route, set()).add(made)
        return made

    def leave_output(self, route: bytes, one: OutputSubscription) -> None:
        """The opposite."""
        _leave(self._of_route, route, one)

    def _waiting_bytes(self) -> int:
        share = ALL_WAITING_BYTES // max(self.readers, 1)
        return min(max(share, LEAST_WAITING_BYTES), MOST_WAITING_BYTES)


def _leave(followers: dict[K, set[Subscription[R]]], key: K, one: Subscription[R]) -> None:
    found = followers.get(key)
    if found is not None:
        found.discard(one)
        if not found:
            del followers[key]
