"""Results that the broker does not have yet: sent until it has them."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Final

from processors.executors.report_records import count, together
from processors.executors.reports import Record, Reports
from runtime.kafka.publisher import DeliveryError, Publisher, PublisherFull
from runtime.logs import Log

_RETRY_SECONDS: Final = 1.0


class ResultSender:
    """Keeps every last report until it is delivered; on one event loop.

    Reports of forged cancels too, a few of an attempt at most. There are never more than claims
    allow, and claiming stops while `waiting` is high.
    """

    def __init__(self, publisher: Publisher, topic: str, log: Log, reports: Reports) -> None:
        """`topic` is the name of `steps.reports` on this cluster; `reports` signs."""
        self._publisher = publisher
        self._reports = reports
        self._unsigned: list[Record] = []
        self._topic = topic
        self._log = log
        self._loop = asyncio.get_running_loop()
        self._failing = False
        self._none_left: asyncio.Future[None] | None = None
        #: Results that the broker does not have yet; readable from every thread.
        self.waiting = 0

    def send(self, record: Record) -> None:
        """Take a report; it is at most `limits.MAX_REPORT_BYTES` long.

        Reports of attempts that end in the same turn of the loop are written and signed together.
        """
        self.waiting += 1
        if not self._unsigned:
            self._loop.call_soon(self._sign)
        self._unsigned.append(record)

    async def flush(self, timeout_seconds: float) -> int:
        """Wait until all are delivered or the time is over; returns how many are not."""
        if self.waiting:
            self._none_left = self._none_left or self._loop.create_future()
            await asyncio.wait((self._none_left,), timeout=timeout_seconds)
        return self.waiting

    def _sign(self) -> None:
        made, self._unsigned = self._unsigned, []
        for record in self._reports.sign(together(made)):
            self._send(record)

    def _send(self, record: Record) -> None:
        try:
            self._publisher.publish_soon(self._topic, *record, partial(self._delivered, record))
        except (PublisherFull, DeliveryError) as error:
            self._failed(record, error)

    def _delivered(self, record: Record, error: DeliveryError | None) -> None:
        if error is not None:
            self._failed(record, error)
            return
        self.waiting -= count(record)
        if self._failing:
            self._failing = False
            self._log.info("results are delivered again")
        if self._none_left is not None and not self.waiting:
            self._none_left.set_result(None)
            self._none_left = None

    def _failed(self, record: Record, error: Exception) -> None:
        if not self._failing:
            self._failing = True
            self._log.warning("results cannot be delivered", why=str(error))
        self._loop.call_later(_RETRY_SECONDS, self._send, record)
