"""Reports of the secrets that attempts use: delivered before they are used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict
from typing import Final

from drivers.secret_use import SecretError
from processors.executors.attempts import Attempt
from processors.executors.reports import Reports
from runtime import clock
from runtime.kafka.publisher import DeliveryError, Publisher
from streams.reports import SecretUse

#: How long an attempt waits for the broker to have its report.
DELIVERY_SECONDS: Final = 10.0


class SecretReports:
    """Sends `secrets_used`: no attempt gets a secret whose use is not recorded."""

    def __init__(self, publisher: Publisher, topic: str, made: Reports) -> None:
        """`topic` is the name of `steps.reports` on this cluster."""
        self._publisher = publisher
        self._topic = topic
        self._reports = made

    async def tell(self, attempt: Attempt, uses: Sequence[SecretUse]) -> None:
        """Return when the broker has the report; raises SecretError where it does not get it."""
        if not uses:
            return
        attempt.secret_reports += 1
        time = clock.iso(round(clock.now(), 3))
        record = self._reports.record(
            attempt.command,
            "secrets_used",
            time,
            attempt.traceparent,
            attempt.secret_reports,
            uses=[asdict(use) for use in uses],
        )
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                await self._publisher.publish(self._topic, *self._reports.sign([record])[0])
        except (DeliveryError, TimeoutError):
            message = "The use of a secret could not be recorded, so it was not given out."
            raise SecretError(message, "secret_unavailable") from None
