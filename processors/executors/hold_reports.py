"""Reports of attempts that wait before they begin: why they wait, and that the wait is over."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Final

from drivers.context import HoldReason
from processors.executors import reports
from processors.executors.attempts import Attempt
from processors.executors.reports import Record, Reports
from runtime import clock
from runtime.kafka.publisher import DeliveryError, Publisher, PublisherFull

_RETRY_SECONDS: Final = 1.0


class HoldReports:
    """Sends `waiting` and `resumed`, each until the broker has it or the next one replaces it."""

    def __init__(self, publisher: Publisher, topic: str, made: Reports) -> None:
        """`topic` is the name of `steps.reports` on this cluster."""
        self._publisher = publisher
        self._topic = topic
        self._reports = made
        self._loop = asyncio.get_running_loop()

    @contextmanager
    def hold(self, attempt: Attempt, reason: HoldReason, message: str) -> Iterator[None]:
        """Stop the time limit inside; raises NotBegun where it is too late afterwards."""
        attempt.wait()
        shown = attempt.context.masker.text(message)
        self._change(attempt, "waiting", **reports.waiting(reason, shown))
        yield
        attempt.begin(clock.monotonic())
        self._change(attempt, "resumed")

    def _change(self, attempt: Attempt, kind: str, **fields: Any) -> None:
        attempt.changes += 1
        time = clock.iso(round(clock.now(), 3))
        record = self._reports.record(
            attempt.command, kind, time, attempt.traceparent, attempt.changes, **fields
        )
        self._try(attempt, attempt.changes, self._reports.sign([record])[0])

    def _try(self, attempt: Attempt, number: int, record: Record) -> None:
        if attempt.reported or attempt.changes != number:
            # Sent now, it would say what is no longer so.
            return
        try:
            self._publisher.publish_soon(
                self._topic, *record, partial(self._delivered, attempt, number, record)
            )
        except (PublisherFull, DeliveryError):
            self._loop.call_later(_RETRY_SECONDS, self._try, attempt, number, record)

    def _delivered(
        self, attempt: Attempt, number: int, record: Record, error: DeliveryError | None
    ) -> None:
        if error is not None:
            self._loop.call_later(_RETRY_SECONDS, self._try, attempt, number, record)
