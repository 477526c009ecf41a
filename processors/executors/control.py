"""Follows `executors.control`: every instance knows all of it before it claims anything."""

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

from processors.executors import metrics
from processors.executors.cancellations import Cancellations
from processors.executors.readiness import Readiness
from runtime import clock
from runtime.kafka import clients
from runtime.logs import Log
from runtime.settings import ExecutorSettings
from streams import ids
from streams.commands import CancelStep
from streams.topics import EXECUTORS_CONTROL

_BATCH: Final = 1_000
_RETRY_SECONDS: Final = 1.0
_EXPIRE_SECONDS: Final = 600.0


class ControlFollower(threading.Thread):
    """Reads all partitions from their beginning, without a group, for as long as it lives."""

    def __init__(
        self,
        settings: ExecutorSettings,
        log: Log,
        readiness: Readiness,
        cancellations: Cancellations,
        cancel: Callable[[str, CancelStep], None],
        stop: threading.Event,
        alarm: threading.Event,
    ) -> None:
        """`cancel` is called in this thread, after `cancellations` knows; `alarm` is set on a
        fault that only a person can mend, which is then kept in `failed`.
        """
        super().__init__(name="control", daemon=True)
        self._settings = settings
        self._log = log
        self._readiness = readiness
        self._cancellations = cancellations
        self._cancel = cancel
        self._stop_event = stop
        self._alarm = alarm
        self._topic = clients.topic_name(settings, EXECUTORS_CONTROL)
        self._behind: set[int] = set()
        #: Set once everything that was there at the start is known.
        self.loaded = threading.Event()
        self.failed: BaseException | None = None

    def run(self) -> None:
        """Follow until the stop event."""
        try:
            while not self._stop_event.is_set():
                try:
                    self._follow()
                except KafkaException as error:
                    self._wait(error.args[0])
                    self._stop_event.wait(_RETRY_SECONDS)
        except BaseException as error:
            self.failed = error
            self._alarm.set()

    def _follow(self) -> None:
        consumer = Consumer(
            clients.consumer(
                self._settings,
                # Never joined and never committed to; the client wants a name.
                f"{self._settings.topic_prefix}runstream-executors-control",
                **{"enable.partition.eof": True, "queued.min.messages": 1_000},
            )
        )
        try:
            found = consumer.list_topics(self._topic, timeout=5.0).topics[self._topic]
            if found.error is not None:
                raise KafkaException(found.error)
            self._behind = set(found.partitions)
            consumer.assign(
                [TopicPartition(self._topic, part, OFFSET_BEGINNING) for part in found.partitions]
            )
            expired_at = clock.monotonic()
            while not self._stop_event.is_set():
                message = consumer.poll(0.1)
                if message is None:
                    continue
                for one in (message, *consumer.consume(_BATCH, 0)):
                    self._handle(one)
                if clock.monotonic() - expired_at > _EXPIRE_SECONDS:
                    expired_at = clock.monotonic()
                    self._cancellations.expire(clock.now())
        finally:
            consumer.close()

    def _handle(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                self._wait(error)
            elif self._behind:
                self._behind.discard(message.partition() or 0)
                if not self._behind:
                    self.loaded.set()
            if not self._behind:
                self._readiness.ready(self.name)
            return
        value = message.value()
        if value is None:
            self._cancellations.forget((message.key() or b"").decode("utf-8", "replace"))
            return
        try:
            cancel = CancelStep.model_validate_json(value)
        except ValidationError:
            metrics.CONTROL_POISON.inc()
            self._log.warning(
                "unreadable cancel", partition=message.partition(), offset=message.offset()
            )
            return
        attempt = ids.attempt_id(cancel.execution_id, cancel.step, cancel.attempt)
        self._cancellations.add(attempt, cancel, clock.now())
        # While the past is read nothing of this process runs yet that it could speak of, except
        # after a reconnect, and then a repeated cancel does no harm.
        self._cancel(attempt, cancel)

    def _wait(self, error: KafkaError) -> None:
        if error.code() not in (KafkaError._TRANSPORT, KafkaError._RESOLVE):
            self._readiness.waiting(self.name, f"{error.name()}: {error.str()}")
