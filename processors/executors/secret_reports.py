"""Reports of the secrets that attempts use: delivered before they are used."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

from drivers.secret_use import SecretError
from processors.executors.attempts import Attempt
from processors.executors.reports import Reports, secret_use
from runtime import clock
from runtime.kafka.publisher import DeliveryError, Publisher
from streams.reports import SecretUse

#: How long an attempt waits for the broker to have its report.
DELIVERY_SECONDS: Final = 10.0
#: Uses in one report, so that it is never larger than a report may be.
_USES: Final = 25


class SecretReports:
    """Sends `secrets_used`: no attempt gets a secret whose use is not recorded."""

    def __init__(self, publisher: Publisher, topic: str, made: Reports) -> None:
        """`topic` is the name of `steps.reports` on this cluster."""
        self._publisher = publisher
        self._topic = topic
        self._reports = made

    async def tell(self, attempt: Attempt, uses: Sequence[SecretUse]) -> None:
        """Return when the broker has the reports; raises SecretError where it does not get them."""
        try:
            async with asyncio.timeout(DELIVERY_SECONDS):
                for start in range(0, len(uses), _USES):
                    await self._publish(attempt, uses[start : start + _USES])
        except (DeliveryError, TimeoutError):
            message = "The use of a secret could not be recorded, so it was not given out."
            raise SecretError(message, "secret_unavailable") from None

    async def _publish(self, attempt: Attempt, uses: Sequence[SecretUse]) -> None:
        attempt.secret_reports += 1
        record = self._reports.record(
            attempt.command,
            "secrets_used",
            clock.iso(round(clock.now(), 3)),
            attempt.traceparent,
            attempt.secret_reports,
            uses=[secret_use(use) for use in uses],
        )
        await self._publisher.publish(self._topic, *self._reports.sign([record])[0])
