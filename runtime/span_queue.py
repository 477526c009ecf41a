"""Spans that wait for the receiver: a queue of bounded size and the thread that empties it.

Whoever adds a span never waits. A span that finds the queue full, or that the receiver does not
take, is dropped and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

from prometheus_client import Counter

from runtime import clock
from runtime.logs import Log
from runtime.spans import Span

SPANS: Final = Counter(
    "runstream_trace_spans_total",
    "Spans by what became of them: exported, or dropped and why",
    ("outcome",),
)
for _outcome in ("exported", "dropped_full", "dropped_failed", "dropped_stopped"):
    SPANS.labels(_outcome)


class Exporter(Protocol):
    """Sends spans to the receiver."""

    def export(self, spans: Sequence[Span]) -> bool:
        """Whether the receiver has taken them; blocks, with a limit of its own."""
        ...

    def shutdown(self) -> None:
        """End what blocks; nothing is exported any more. From any thread."""
        ...


class SpanQueue:
    """Takes spans from every thread; `close` once."""

    def __init__(
        self, exporter: Exporter, log: Log, most: int, batch: int, delay_seconds: float
    ) -> None:
        """Start the thread."""
        self._exporter = exporter
        self._log = log
        self._most, self._batch, self._delay = most, min(batch, most), delay_seconds
        self._waiting: deque[Span] = deque()
        self._wake = threading.Event()
        self._closing = False
        self._failed = False
        self._thread = threading.Thread(target=self._run, name="spans", daemon=True)
        self._thread.start()

    def add(self, spans: Sequence[Span]) -> None:
        """Keep these for the next request; does not wait."""
        room = self._most - len(self._waiting)
        if self._closing or room < len(spans):
            kept = 0 if self._closing else max(room, 0)
            outcome = "dropped_stopped" if self._closing else "dropped_full"
            SPANS.labels(outcome).inc(len(spans) - kept)
            spans = spans[:kept]
        self._waiting.extend(spans)
        if len(self._waiting) >= self._batch:
            self._wake.set()

    def close(self, seconds: float) -> None:
        """Send what waits for as long as this at most; the rest is dropped and counted."""
        until = clock.monotonic() + seconds
        self._closing = True
        self._wake.set()
        self._thread.join(max(0.0, until - clock.monotonic()))
        # Ends a request that is tried again; one that hangs ends with the process.
        self._exporter.shutdown()
        left = len(self._waiting)
        self._waiting.clear()
        if left:
            SPANS.labels("dropped_stopped").inc(left)
            self._log.warning("spans not exported at the stop", spans=left)

    def _run(self) -> None:
        while True:
            self._wake.wait(self._delay)
            self._wake.clear()
            while self._waiting:
                self._send([self._waiting.popleft() for _ in range(self._next())])
            if self._closing:
                return

    def _next(self) -> int:
        return min(len(self._waiting), self._batch)

    def _send(self, spans: list[Span]) -> None:
        taken = self._exporter.export(spans)
        SPANS.labels("exported" if taken else "dropped_failed").inc(len(spans))
        if taken == self._failed:
            self._failed = not taken
            if taken:
                self._log.info("spans are exported again")
            else:
                self._log.warning(
                    "spans cannot be exported",
                    why="the receiver of OTEL_EXPORTER_OTLP_ENDPOINT does not take them",
                    dropped="counted in runstream_trace_spans_total",
                )
