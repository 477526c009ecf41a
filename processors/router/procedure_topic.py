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
#: How long the topic must be absent to count as missing.
_ABSENT_SECONDS: Final = 2.0
_NEVER: Final = frozenset(
    {
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_TOPIC,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
    }
)
_REMEDY: Final = "`runstream topics apply` makes it, and `runstream topics acls` gives the right"


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
            # It stays: the broker answers its fetches when there is a record, or twice a second.
            options = clients.reader(self._settings, **{"enable.partition.eof": True})
            self._consumer = Consumer(options)
            self._consumer.assign([TopicPartition(self._topic, 0, self._next)])
        end = self._end()
        if end is None:
            return
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

    def _end(self) -> int | None:
        """The end of the topic now; None where it cannot be read at all, which is kept as a fault.

        Without this answer one request of a procedure would stop all others, for as long as nobody
        makes the topic. A topic that was just made may be absent for a moment.
        """
        patience = clock.monotonic() + _ABSENT_SECONDS
        while True:
            try:
                _, end = self._consumer.get_watermark_offsets(
                    TopicPartition(self._topic, 0), timeout=_CALL_SECONDS
                )
            except KafkaException as error:
                code = error.args[0].code()
                if code not in _NEVER:
                    raise
                if code != KafkaError.TOPIC_AUTHORIZATION_FAILED and clock.monotonic() < patience:
                    self._consumer.poll(_POLL_SECONDS)
                    continue
                if self._library.fault is None:
                    self._log.error("procedures cannot be read", why=error.args[0].str())
                self._library.fault = f"the router cannot read {PROCEDURES.name}: {_REMEDY}"
                return None
            self._library.fault = None
            return int(end)

    def _take(self, message: Any) -> None:
        self._next = message.offset() + 1
        token = header(message_headers(message), SIGNATURE)
        fault = self._library.put(message.key(), message.value(), token)
        if fault is not None:
            self._log.warning("procedure unusable", why=fault, offset=message.offset())
