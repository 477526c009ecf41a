"""How far this machine's clock is off the broker's, from records that the broker stamped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME, KafkaError, Message

from runtime import clock

#: Clocks of machines that synchronise differ by less, and a measurement by how long it took.
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

    def observe(self, sent_at: float, acknowledged_at: float, appended_at: float) -> None:
        """A record was sent and acknowledged at these times here, and appended at this time there
        (Unix seconds).
        """
        # The truth lies between: the broker appended it after it was sent and before the answer.
        least, most = sent_at - appended_at, acknowledged_at - appended_at
        middle = (least + most) / 2
        self._ahead = middle if abs(middle) > _TOLERANCE_SECONDS + (most - least) / 2 else 0.0

    def delivered(self, sent_at: float) -> Callable[[KafkaError | None, Message], Any]:
        """The delivery callback of a record that is sent now."""

        def observe(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                return  # and the message has no time: asking for it would raise in the client
            kind, milliseconds = message.timestamp()
            # Of a topic that keeps the producer's own time nothing can be learned.
            if kind == TIMESTAMP_LOG_APPEND_TIME:
                self.observe(sent_at, clock.now(), milliseconds / 1_000)

        return observe
