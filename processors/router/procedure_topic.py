"""Reads `execution.procedures`: a router knows all of it before it decides by any of it."""

from __future__ import annotations

from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from processors.router.procedures import Library
from runtime import clock
from runtime.kafka import clients
from runtime.logs import Log
from runtime.settings import CommonSettings
from streams.envelope import SIGNATURE, header, message_headers
from streams.topics import PROCEDURES

_BATCH: Final = 1_000
_POLL_SECONDS: Final = 0.05
#: The loop waits no longer for one answer, so that its membership outlasts it.
_CALL_SECONDS: Final = 5.0
#: Nothing new for this long, below the end: the broker is away.
_PATIENCE_SECONDS: Final = 20.0


class ProcedureTopic:
    """The library, read up to the end of the topic whenever a decision asks; one thread.

    A request that follows an apply must find what was applied. So the end of the topic is asked for
    once in each batch that has a request of a procedure: whatever was applied before such a request
    was written lies before this end.
    """

    def __init__(self, settings: CommonSettings, log: Log, library: Library) -> None:
        """Nothing is read before the first request of a procedure."""
        self._settings = settings
        self._log = log
        self._library = library
        self._topic = clients.topic_name(settings, PROCEDURES)
        self._consumer: Any = None
        #: Every record below this offset is known.
        self._next = 0
        self._known_at = 0.0
        self._is_copy = False

    def known_at(self, now: float) -> Library:
        """See Procedures; all decisions of a batch have the same `now`. Raises KafkaException."""
        if now != self._known_at and not self._is_copy:
            try:
                self._read_on()
            except BaseException:
                self.close()
                raise
            self._known_at = now
        return self._library

    def forked(self) -> None:
        """This is a copy of the process, in which Kafka's clients have no threads."""
        self._is_copy = True

    def close(self) -> None:
        """Leave the broker; the next decision connects again, and goes on where this ended."""
        consumer, self._consumer = self._consumer, None
        if consumer is not None:
            consumer.close()

    def _read_on(self) -> None:
        if self._consumer is None:
            self._consumer = Consumer(clients.reader(self._settings, **clients.ENDS))
            self._consumer.assign([TopicPartition(self._topic, 0, self._next)])
        _, end = self._consumer.get_watermark_offsets(
            TopicPartition(self._topic, 0), timeout=_CALL_SECONDS
        )
        patience = clock.monotonic() + _PATIENCE_SECONDS
        while self._next < end:
            for message in self._consumer.consume(_BATCH, _POLL_SECONDS):
                error = message.error()
                if error is None:
                    self._take(message)
                    patience = clock.monotonic() + _PATIENCE_SECONDS
                elif error.code() == KafkaError._PARTITION_EOF:
                    # Compaction leaves no record at the last offsets sometimes.
                    self._next = max(self._next, message.offset() or 0)
                elif not error.retriable():
                    raise KafkaException(error)
            if clock.monotonic() > patience:
                raise KafkaException(
                    KafkaError(KafkaError._TIMED_OUT, f"{self._topic}: its end is not reached")
                )

    def _take(self, message: Any) -> None:
        self._next = message.offset() + 1
        token = header(message_headers(message), SIGNATURE)
        fault = self._library.put(message.key(), message.value(), token)
        if fault is not None:
            self._log.warning("procedure unusable", why=fault, offset=message.offset())
