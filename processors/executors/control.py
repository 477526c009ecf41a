"""Reads `executors.control`: every instance knows all of it before it claims anything."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from pydantic import ValidationError

from authority.process import ProcessKeys
from processors.executors import metrics
from processors.executors.authentication import refuse_cancel
from processors.executors.cancellations import Cancellations
from runtime import clock
from runtime.kafka import clients
from runtime.kafka.cluster import cluster_id
from runtime.kafka.guard import Undecidable, guarded
from runtime.kafka.outage import PASSING, Outage
from runtime.kafka.restore import Unread, end_offsets
from runtime.logs import Log
from runtime.readiness import Readiness
from runtime.settings import ExecutorSettings
from streams import ids
from streams.commands import CancelStep
from streams.topics import EXECUTORS_CONTROL

_BATCH: Final = 1_000
#: The longest wait for a record; a record ends it at once, a stop does not.
_POLL_SECONDS: Final = 0.5
_EXPIRE_SECONDS: Final = 600.0


class ControlReader(threading.Thread):
    """Reads all partitions from their beginning, without a group, for as long as it lives.

    Only what the router has signed counts. Everything else is logged and counted, and reported by
    the instance that has, or gets, the attempt that it names.
    """

    def __init__(
        self,
        settings: ExecutorSettings,
        log: Log,
        readiness: Readiness,
        cancellations: Cancellations,
        keys: ProcessKeys,
        cancel: Callable[[str, CancelStep], None],
        forged: Callable[[str], None],
        stop: threading.Event,
        process_stop: threading.Event,
    ) -> None:
        """`cancel` and `forged` are called in this thread, after `cancellations` knows, with the id
        of the attempt; `process_stop` is set on a fault that needs an operator, which is then kept
        in `failed`.
        """
        super().__init__(name="control", daemon=True)
        self._settings = settings
        self._log = log
        self._outage = Outage(readiness, self.name)
        self._cancellations = cancellations
        self._keys = keys
        self._cancel = cancel
        self._forged = forged
        #: Partition -> the offset up to which refused records are known.
        self._refused_to: dict[int, int] = {}
        self._stop_event = stop
        self._process_stop = process_stop
        self._topic = clients.topic_name(settings, EXECUTORS_CONTROL)
        #: Set once everything that was there at the start is known.
        self.loaded = threading.Event()
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Read until the stop event."""
        try:
            while not self._stop_event.is_set():
                try:
                    self._read()
                except KafkaException as error:
                    self._stop_event.wait(self._outage.failed(error.args[0]))
        except BaseException as error:
            self.failed = error
            self._process_stop.set()

    def _read(self) -> None:
        consumer = Consumer(
            clients.reader(
                self._settings,
                **{
                    "enable.partition.eof": True,
                    "queued.min.messages": 1_000,
                    "error_cb": self._on_error,
                },
            )
        )
        try:
            self._keys.on_cluster(cluster_id(consumer, self._topic))
            found = consumer.list_topics(self._topic, timeout=5.0).topics[self._topic]
            if found.error is not None:
                raise KafkaException(found.error)
            numbers = sorted(found.partitions)
            # Also what lies behind a transaction that is still open: it may be the cancel of a
            # command that waits here.
            unread = Unread(end_offsets(self._settings, self._topic, numbers))
            consumer.assign(
                [TopicPartition(self._topic, number, OFFSET_BEGINNING) for number in numbers]
            )
            expired_at = clock.monotonic()
            while not self._stop_event.is_set():
                if not unread and not self.loaded.is_set():
                    self.loaded.set()
                    self._outage.recovered()
                message = consumer.poll(_POLL_SECONDS)
                if message is None:
                    self._probe(consumer)
                    continue
                for one in (message, *consumer.consume(_BATCH, 0)):
                    self._process(one, unread)
                if clock.monotonic() - expired_at > _EXPIRE_SECONDS:
                    expired_at = clock.monotonic()
                    self._cancellations.expire(clock.now())
        finally:
            consumer.close()

    def _process(self, message: Message, unread: Unread) -> None:
        error = message.error()
        if error is None:
            try:
                guarded("control", self._apply, message)
            except Undecidable as undecidable:
                metrics.CONTROL_UNREADABLE.inc()
                self._log.warning(
                    "unreadable cancel", partition=message.partition(), offset=message.offset(),
                    error=type(undecidable.__cause__).__name__,
                )  # fmt: skip
        elif error.code() == KafkaError._PARTITION_EOF:
            unread.end_reported(message.partition() or 0, message.offset() or 0)
        elif error.fatal():
            raise KafkaException(error)
        else:
            self._on_error(error)

    def _apply(self, message: Message) -> None:
        refusal = refuse_cancel(self._keys.verifier, message)
        if refusal is not None:
            self._refuse(message, refusal)
            return
        cancel = CancelStep.model_validate_json(message.value() or b"")
        if cancel.executor not in (None, self._settings.instance):
            return
        attempt = ids.attempt_id(cancel.execution_id, cancel.step, cancel.attempt)
        self._cancellations.add(attempt, cancel, clock.now())
        # No attempt of this process runs before the topic is read, except after a reconnect, and
        # then a repeated cancel changes nothing.
        self._cancel(attempt, cancel)

    def _refuse(self, message: Message, why: str) -> None:
        # A record without a value too: nobody can sign one, and the router writes none.
        partition, offset = message.partition() or 0, message.offset() or 0
        if offset < self._refused_to.get(partition, 0):
            return  # The topic is read again from its beginning after a fault of the broker.
        self._refused_to[partition] = offset + 1
        metrics.CONTROL_UNREADABLE.inc()
        self._log.warning("cancel refused", why=why, partition=partition, offset=offset)
        try:
            named = CancelStep.model_validate_json(message.value() or b"")
        except ValidationError:
            return  # It names no attempt, so there is no history that it belongs to.
        attempt = ids.attempt_id(named.execution_id, named.step, named.attempt)
        self._cancellations.forged.add(attempt, why)
        self._forged(attempt)

    def _on_error(self, error: KafkaError) -> None:
        if error.code() not in PASSING:
            self._outage.report(error)

    def _probe(self, consumer: Consumer) -> None:
        """While no record comes, ask the broker whether the last error is over."""
        if not (self.loaded.is_set() and self._outage.is_waiting):
            return
        try:
            # Longer than the fetch in flight on the same connection, for which it waits.
            found = consumer.list_topics(self._topic, timeout=1.0).topics[self._topic]
        except KafkaException:
            return
        if found.error is None:
            self._outage.answered()
