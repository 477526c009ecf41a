"""The difference between this machine's clock and the broker's, measured by record timestamps."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from runtime import clock

#: Synchronised clocks differ by less; a measurement is as inexact as the request took long.
_TOLERANCE_SECONDS: Final = 0.5


class BrokerClock:
    """The difference of two wall clocks; one thread writes, every thread may read."""

    def __init__(self) -> None:
        """No difference is known, and none is assumed."""
        self._ahead = 0.0

    @property
    def ahead_seconds(self) -> float:
        """How far this machine's clock is ahead; negative where it is behind, 0 below half a
        second.
        """
        return self._ahead

    def now(self) -> float:
        """The time by the broker's clock, in Unix seconds."""
        return clock.now() - self._ahead

    def observe(self, sent_at: float, acknowledged_at: float, appended_at: float) -> None:
        """A record was sent and acknowledged at these times here, and appended at this time there
        (Unix seconds).
        """
        # The broker appended it after it was sent and before it was acknowledged.
        least, most = sent_at - appended_at, acknowledged_at - appended_at
        middle = (least + most) / 2
        self._ahead = middle if abs(middle) > _TOLERANCE_SECONDS + (most - least) / 2 else 0.0

    def delivered(self, sent_at: float) -> Callable[[KafkaError | None, Message], Any]:
        """The delivery callback of a record that is sent now."""

        def observe(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                return  # The message has no timestamp; reading it would raise in the client.
            kind, milliseconds = message.timestamp()
            # Other timestamp types are the producer's own time.
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                self.observe(sent_at, clock.now(), milliseconds / 1_000)

        return observe
