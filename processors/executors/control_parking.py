"""Parks what is unreadable on `executors.control`: once, though every instance reads it all."""

from __future__ import annotations

import threading
from typing import Final

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from pydantic import ValidationError

from processors.executors.intake import Intake, options
from processors.executors.transaction import ClaimTransactions, Outcome, Output
from runtime import clock
from runtime.kafka import clients
from runtime.kafka.dead_letters import dead_letter, fitting
from runtime.logs import Log
from runtime.settings import ExecutorSettings
from streams.commands import CancelStep
from streams.topics import EXECUTORS_CONTROL

_BATCH: Final = 500
_RETRY_SECONDS: Final = 1.0
#: Readable records need no transaction; where they were read to is kept this often.
_COMMIT_SECONDS: Final = 10.0


class ControlParking(threading.Thread):
    """A member of a group over the control topic, so that one instance parks each record.

    The letter and the offset are one transaction. The producer is made when there is something to
    park; the follower, which acts on the readable records, needs none of this.
    """

    def __init__(self, settings: ExecutorSettings, log: Log, stop: threading.Event) -> None:
        """Not started."""
        super().__init__(name="control-parking", daemon=True)
        self._settings = settings
        self._log = log
        self._stop_event = stop
        self._topic = clients.topic_name(settings, EXECUTORS_CONTROL)
        self._group = f"{settings.topic_prefix}runstream-executors-control-parking"
        self._transactions = ClaimTransactions(
            clients.transactional(
                settings, f"{settings.topic_prefix}runstream-executor-{settings.instance}-control"
            )
        )
        self._read: dict[tuple[str, int], int] = {}
        self._kept_at = 0.0

    def run(self) -> None:
        """Serve until the stop event."""
        try:
            while not self._stop_event.is_set():
                try:
                    self._serve()
                except KafkaException as error:
                    # The follower of the same topic says what is wrong; this only tries again.
                    self._log.debug("parking waits", why=str(error))
                    self._transactions.close()
                    self._stop_event.wait(_RETRY_SECONDS)
        finally:
            self._transactions.close()

    def _serve(self) -> None:
        self._read.clear()
        intake = Intake(options(self._settings, self._group, _nothing), self._topic, _raise)
        try:
            while not self._stop_event.is_set():
                batch = intake.take(_BATCH, 0.5)
                letters = [message for message in batch if not _readable(message)]
                offsets = {
                    (str(message.topic()), int(message.partition() or 0)): (message.offset() or 0)
                    + 1
                    for message in batch
                }
                if letters:
                    self._park(intake, letters, offsets)
                else:
                    self._read.update(offsets)
                    self._keep(intake)
        finally:
            intake.close()

    def _park(
        self, intake: Intake, letters: list[Message], offsets: dict[tuple[str, int], int]
    ) -> None:
        if not self._transactions.is_open and not self._transactions.open():
            raise KafkaException(KafkaError(KafkaError._TIMED_OUT))
        outputs = [self._letter(message) for message in letters]
        outcome = self._transactions.commit(outputs, offsets, intake.consumer)
        if outcome is not Outcome.COMMITTED:
            # A new consumer goes on from what is committed, whichever end this one had.
            raise KafkaException(self._transactions.last_error or KafkaError(KafkaError._FAIL))
        for message in letters:
            self._log.warning(
                "parked", topic=self._topic, partition=message.partition(), offset=message.offset()
            )

    def _letter(self, message: Message) -> Output:
        letter = dead_letter(
            self._topic,
            message,
            error_class="not_a_command",
            message_text="The value is not a CancelStep.",
            stage="decode",
            group=self._group,
            app="executor",
        )
        fitted = fitting(letter, self._transactions.partitions_of(letter.topic))
        return Output(fitted.topic, fitted.key, fitted.value, fitted.headers, fitted.partition)

    def _keep(self, intake: Intake) -> None:
        now = clock.monotonic()
        if not self._read or now - self._kept_at < _COMMIT_SECONDS:
            return
        self._kept_at = now
        owned = {(place.topic, place.partition) for place in intake.consumer.assignment()}
        places = [
            TopicPartition(*place, offset) for place, offset in self._read.items() if place in owned
        ]
        self._read.clear()
        if places:
            intake.consumer.commit(offsets=places, asynchronous=False)


def _readable(message: Message) -> bool:
    value = message.value()
    if value is None:
        return True  # a tombstone: the cancel is over
    try:
        CancelStep.model_validate_json(value)
    except ValidationError:
        return False
    return True


def _nothing(error: KafkaError) -> None:
    """Connections that come and go are the follower's news."""


def _raise(error: KafkaError) -> None:
    raise KafkaException(error)
