"""The projector's work, whoever brings the records: fold runs, publish what is due, restore.

Everything happens in one event loop under one lock, so that nothing is folded between choosing
what to publish and its delivery: that is what makes the offset in each record true.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from pydantic import ValidationError

from processors.progress import metrics, records
from processors.progress.book import Book
from processors.progress.transport import Run, Span
from processors.progress.windows import Windows
from runtime import clock
from runtime.health import Health
from runtime.logs import Log
from streams.envelope import Headers
from streams.events import Event

#: Sends one record to a partition of the progress topic; the inner awaitable is its delivery.
Send = Callable[[int, bytes, bytes, Headers], Awaitable[Awaitable[object]]]
#: Reads the books of some partitions as they were last published.
ReadBooks = Callable[[list[int]], Awaitable[dict[int, records.Restoring]]]

_AT_ONCE: Final = 500
#: A partition whose newest record is older than this when it arrives is being caught up.
_CAUGHT_UP: Final = 1.0
_WORST_BACKOFF: Final = 5.0
_TOLD_PER_MINUTE: Final = 10


class Projector:
    """Progress of all executions of the assigned partitions."""

    def __init__(
        self, log: Log, health: Health, windows: Windows, read_books: ReadBooks, send: Send
    ) -> None:
        """Hold no partition yet."""
        self.books: dict[int, Book] = {}
        self._log = log
        self._health = health
        self._windows = windows
        self._read_books = read_books
        self._send = send
        self._lock = asyncio.Lock()
        self._closing = asyncio.Event()
        #: Monotonic time until which a partition counts as lagging.
        self._lagging: dict[int, float] = {}
        self._told: list[float] = []

    def close(self) -> None:
        """Stop trying to publish; what is unpublished is folded again after the next start."""
        self._closing.set()

    async def restore(self, spans: dict[int, Span]) -> dict[int, int]:
        """Take over these partitions and no others; where to read each one from."""
        async with self._lock:
            self.books.clear()
            stored = await self._read_books(list(spans)) if spans else {}
            for partition, span in spans.items():
                for damage in stored[partition].damaged[:_TOLD_PER_MINUTE]:
                    self._log.warning("a stored progress state is left out", why=damage)
                book = stored[partition].book()
                if book.position > span.end:
                    # The event topic was made anew: its executions have nothing to do with ours.
                    self._log.warning(
                        "events are fewer than published; folding anew", partition=partition
                    )
                    book = Book(span.first)
                book.position = max(book.position, span.first)
                self.books[partition] = book
            self._count_live()
            self._log.info(
                "partitions restored",
                partitions=sorted(self.books),
                live=sum(len(book.live) for book in self.books.values()),
            )
            return {partition: book.position for partition, book in self.books.items()}

    async def absorb(self, run: Run) -> None:
        """Fold one run and publish what is due; a record that cannot be folded is told, counted
        and passed over (the sink keeps its bytes in the dead-letter topic)."""
        async with self._lock:
            book = self.books.get(run.partition)
            if book is None:
                return  # Revoked meanwhile: its next owner reads it.
            for offset, value in run.records:
                try:
                    self._fold(book, offset, value)
                except Exception as error:  # Whatever it is, the records behind it must go on.
                    metrics.EVENTS.labels("poison").inc()
                    self._tell_poison(run.partition, offset, error)
                book.position = max(book.position, offset + 1)
            behind = max(0.0, clock.now() - run.appended_at)
            metrics.BEHIND.set(behind)
            if behind > _CAUGHT_UP:
                self._lagging[run.partition] = clock.monotonic() + _CAUGHT_UP
            await self._publish(run.partition, book)
            self._count_live()

    async def tick(self) -> None:
        """Publish what has become due by time alone; call it every tenth of a second."""
        async with self._lock:
            self._windows.advance(clock.now())
            for partition, book in list(self.books.items()):
                book.passed(self._now(partition, book))
                await self._publish(partition, book)
            self._count_live()

    def _fold(self, book: Book, offset: int, value: bytes | None) -> None:
        if value is None:
            raise ValueError("an event without a value")
        event = Event.model_validate_json(value)
        taken = book.take(offset, event)
        metrics.EVENTS.labels(taken.outcome).inc()
        if taken.progress is None:
            return
        step = taken.progress.steps.get(event.step) if event.step is not None else None
        self._windows.count(event, step.tool if step is not None else None)
        if taken.breached_now:
            metrics.BREACHES.labels(taken.progress.facts.sla_class or "unknown").inc()

    def _now(self, partition: int, book: Book) -> float:
        """Unix seconds; while a backlog is read, the time of its newest event."""
        if self._lagging.get(partition, 0.0) > clock.monotonic():
            return book.stream_time
        return max(clock.now(), book.stream_time)

    async def _publish(self, partition: int, book: Book) -> None:
        """Deliver every due snapshot; while the broker is away wait here, so that nothing more is
        read. Ends early only on `close`."""
        backoff = 0.1
        while due := book.due(clock.monotonic(), _AT_ONCE):
            now, low_water = self._now(partition, book), book.low_water()
            try:
                deliveries = [
                    await self._send(partition, *records.record(progress, now, low_water))
                    for progress in due
                ]
                await asyncio.gather(*deliveries)
            except Exception as error:  # Told once; each kind means: not delivered, try again.
                if self._health.waiting("publish", f"snapshots are not delivered: {error!r}"):
                    self._log.warning("snapshots are not delivered", why=repr(error))
                try:
                    await asyncio.wait_for(self._closing.wait(), backoff)
                except TimeoutError:
                    backoff = min(2 * backoff, _WORST_BACKOFF)
                    continue
                return
            book.published(due, clock.monotonic())
            metrics.SNAPSHOTS.inc(len(due))
            self._health.ready("publish")

    def _tell_poison(self, partition: int, offset: int, error: Exception) -> None:
        minute_ago = time.monotonic() - 60
        self._told = [told for told in self._told if told > minute_ago]
        if len(self._told) < _TOLD_PER_MINUTE:
            self._told.append(time.monotonic())
            why = "not an event" if isinstance(error, ValidationError) else repr(error)[:200]
            self._log.warning(
                "an event is passed over", partition=partition, offset=offset, why=why
            )

    def _count_live(self) -> None:
        metrics.LIVE.set(sum(len(book.live) for book in self.books.values()))
