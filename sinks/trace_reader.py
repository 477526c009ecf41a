"""The reader of traces: a thread of the sink that makes spans of the committed events.

It has a consumer group of its own, and commits what it has read once the receiver has taken the
spans of it. So spans are made of what was committed and of nothing else; those of a process that
was killed are made by the next one; and while the receiver is away they wait in the topic, not in
memory. A kill between a request and its commit has the same spans sent again, with the same ids.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from runtime import tracing
from runtime.kafka import clients
from runtime.logs import Log
from runtime.settings import SinkSettings
from runtime.span_queue import SPANS, Exporter
from runtime.spans import Span
from sinks.event_spans import Record, spans
from streams.access import TRACES_GROUP
from streams.envelope import message_headers
from streams.topics import EVENTS

_POLL_SECONDS: Final = 0.25
_BATCH: Final = 500
_FIRST_WAIT: Final = 0.5
_LONGEST_WAIT: Final = 10.0
#: What a stop of the sink waits for the reader.
_STOP_SECONDS: Final = 1.0


class TraceReader(threading.Thread):
    """Reads until `close`; no failure of its own ends the sink."""

    def __init__(self, settings: SinkSettings, log: Log, exporter: Exporter) -> None:
        """Not started."""
        super().__init__(name="traces", daemon=True)
        self._settings, self._log, self._exporter = settings, log, exporter
        self._stop_event = threading.Event()
        self._rebalances = 0
        self._assigned: list[TopicPartition] = []
        self._said = False

    def run(self) -> None:
        """Until the stop; a failure of the broker or a defect is logged, and tried again."""
        wait = _FIRST_WAIT
        while not self._stop_event.is_set():
            consumer = Consumer(
                clients.consumer(
                    self._settings,
                    self._settings.topic_prefix + TRACES_GROUP,
                    # As those of the sink: how soon another one goes on where this one was killed.
                    **{"session.timeout.ms": 10_000},
                )
            )
            try:
                consumer.subscribe(
                    [clients.topic_name(self._settings, EVENTS)],
                    on_assign=self._on_assign,
                    on_revoke=self._on_revoke,
                    on_lost=self._on_revoke,
                )
                while not self._stop_event.is_set():
                    if self._read(consumer):
                        wait = _FIRST_WAIT
            except KafkaException as error:
                self._log.warning("traces wait for kafka", why=error.args[0].str())
            except Exception:
                # Traces are beside the work: the sink goes on, and so does the next batch.
                self._log.exception("traces failed")
            finally:
                consumer.close()
            self._stop_event.wait(wait)
            wait = min(wait * 2, _LONGEST_WAIT)

    def close(self, seconds: float) -> None:
        """Stop reading; what was not sent is sent by the next reader."""
        self._stop_event.set()
        self._exporter.shutdown()
        self.join(seconds)

    def _read(self, consumer: Consumer) -> bool:
        before = self._rebalances
        batch = [m for m in consumer.consume(_BATCH, _POLL_SECONDS) if not _failed(m)]
        if not batch:
            return False
        found = [span for message in batch for span in self._spans(message)]
        if found and not self._sent(consumer, found, before):
            return False  # The new owner of the partitions reads it again, or the next start.
        ends: dict[tuple[str, int], int] = {}
        for message in batch:
            place = str(message.topic()), message.partition() or 0
            ends[place] = max(ends.get(place, 0), (message.offset() or 0) + 1)
        consumer.commit(
            offsets=[TopicPartition(topic, number, end) for (topic, number), end in ends.items()],
            asynchronous=False,
        )
        return True

    def _spans(self, message: Message) -> list[Span]:
        try:
            return spans(_record(message), self._settings.topic_prefix)
        except Exception:
            # A defect: its other records have spans all the same.
            self._log.exception(
                "an event makes no spans", partition=message.partition(), offset=message.offset()
            )
            return []

    def _sent(self, consumer: Consumer, found: Sequence[Span], before: int) -> bool:
        """Whether the receiver has them, or refuses just these; waits while it is away.

        A receiver that takes an empty request is there: what it has refused twice is dropped.
        """
        wait, refused = _FIRST_WAIT, 0
        while not self._exporter.export(found):
            if self._stop_event.is_set():
                return False
            refused += self._exporter.export([])
            if refused > 1:
                SPANS.labels("dropped_failed").inc(len(found))
                self._log.warning("the receiver refuses spans", spans=len(found))
                return True
            self._tell(away=True)
            # The consumer stays in its group, and fetches nothing.
            consumer.pause(consumer.assignment())
            if consumer.poll(wait) is not None or self._rebalances != before:
                raise KafkaException(KafkaError(KafkaError._STATE, "the partitions have moved"))
            wait = min(wait * 2, _LONGEST_WAIT)
        SPANS.labels("exported").inc(len(found))
        if consumer.assignment():
            consumer.resume(consumer.assignment())
        self._tell(away=False)
        return True

    def _tell(self, *, away: bool) -> None:
        if away != self._said:
            self._said = away
            if away:
                self._log.warning("spans wait: the receiver of OTEL_EXPORTER_OTLP_ENDPOINT is away")
            else:
                self._log.info("the receiver takes spans again")

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances += 1


@contextmanager
def running(settings: SinkSettings, log: Log) -> Iterator[None]:
    """A reader for as long as the sink runs; none where there are no traces."""
    traces = tracing.active()
    if traces is None:
        yield
        return
    traces.start()
    reader = TraceReader(settings, log, traces.exporter())
    reader.start()
    try:
        yield
    finally:
        reader.close(min(_STOP_SECONDS, settings.drain_seconds))


def _failed(message: Message) -> bool:
    """Whether it is no record; raises KafkaException where the consumer cannot go on."""
    error = message.error()
    if error is not None and (error.fatal() or not error.retriable()):
        raise KafkaException(error)
    return error is not None


def _record(message: Message) -> Record:
    return Record(message_headers(message), message.value(), max(message.timestamp()[1], 0))
