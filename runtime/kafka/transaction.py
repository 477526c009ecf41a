"""One Kafka transaction at a time: records and consumed offsets, all of them or none."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer

from runtime import clock
from runtime.kafka.broker_clock import BrokerClock
from runtime.kafka.calls import CallThread
from runtime.kafka.cluster import cluster_id
from runtime.kafka.offsets import CommitMark, Notes, Offsets, marked, membership
from runtime.kafka.outcome import (
    REFUSED_RECORD,
    SECONDS,
    UNREACHABLE,
    Outcome,
    RecordRefused,
    counted,
    timed_out,
)
from streams.topics import Topic

#: Of one call. The outcome of a commit that takes longer is unknown; the producer is replaced.
CALL_SECONDS: Final = 10.0
OFFSETS_SECONDS: Final = 5.0
_TRIES: Final = 5
BY_KEY: Final = -1


class Transactions:
    """A transactional producer; for one thread.

    librdkafka ends transactions by protocol version 1, where a late end could apply to the next
    transaction of the same producer (KAFKA-17754): after a call of unknown outcome the producer
    is dropped, and the next one's `init_transactions` ends whatever is still open.
    """

    def __init__(
        self, options: Mapping[str, Any], prefix: str = "", clock_of: BrokerClock | None = None
    ) -> None:
        """Opens nothing; `options` hold the transactional id, `prefix` is that of all topics.

        `clock_of` gets the broker timestamp of the first record of each transaction.
        """
        self._options = dict(options)
        self._prefix = prefix
        self._producer: Producer | None = None
        self._mark = CommitMark()
        self._begun = False
        self._began_at = 0.0
        self._partitions: dict[str, int] = {}
        self._calls = CallThread("offsets")
        self._clock_of = clock_of
        self.last_error: KafkaError | None = None

    @property
    def is_open(self) -> bool:
        """Whether records may be sent."""
        return self._producer is not None

    @property
    def has_begun(self) -> bool:
        """Whether anything was sent since the last end of a transaction."""
        return self._begun

    @property
    def refused_record(self) -> KafkaError | None:
        """Why the broker refused a record of the last transaction; None if it did not."""
        error = self.last_error
        return error if error is not None and error.code() in REFUSED_RECORD else None

    def open(self, timeout_seconds: float = CALL_SECONDS) -> bool:
        """End any transaction of a predecessor; False where the broker did not answer in time.

        Raises KafkaException where trying again is of no use (authorization, configuration).
        """
        self.close()
        producer = Producer(self._options)
        try:
            producer.init_transactions(timeout_seconds)
        except KafkaException as error:
            self.last_error = error.args[0]
            if error.args[0].retriable() or error.args[0].code() in UNREACHABLE:
                return False
            raise
        self._producer = producer
        return True

    def close(self) -> None:
        """Drop the producer with everything that is not committed; it may be opened again."""
        self._calls.close()
        self._begun = False
        self._partitions.clear()
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def cluster(self, topic: str) -> str:
        """The id of the cluster that has the topic of this full name; raises KafkaException."""
        return cluster_id(self._opened(), topic)

    def partitions_of(self, topic: str) -> int:
        """How many partitions the topic of this full name has; raises KafkaException."""
        if topic not in self._partitions:
            found = self._opened().list_topics(topic, timeout=5.0).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]

    def send(
        self,
        topic: Topic,
        key: bytes,
        value: bytes | None,
        headers: Any = None,
        partition: int = BY_KEY,
    ) -> None:
        """Add one record; the first one begins the transaction.

        Blocks while the client's queue is full, at most `CALL_SECONDS`. Raises RecordRefused for
        a record that is larger than the client may send, KafkaException for everything else.
        """
        self.send_named(self._prefix + topic.name, key, value, headers, partition)

    def send_named(
        self,
        name: str,
        key: bytes | None,
        value: bytes | None,
        headers: Any = None,
        partition: int = BY_KEY,
    ) -> None:
        """The same, by the topic's full name."""
        producer = self._opened()
        delivered = None
        if not self._begun:
            self._begin(producer)
            if self._clock_of is not None:
                delivered = self._clock_of.delivered(clock.now())
        deadline = None
        while True:
            try:
                # By position, which the client parses in half the time of keywords.
                producer.produce(name, value, key, partition, delivered, None, 0, headers)
                return
            except BufferError:
                deadline = deadline or clock.monotonic() + CALL_SECONDS
                if clock.monotonic() > deadline:
                    raise timed_out("the producer's queue stays full") from None
                producer.poll(0.05)
            except KafkaException as error:
                if error.args[0].code() in REFUSED_RECORD:
                    raise RecordRefused(f"{name}: {error.args[0].str()}") from error
                raise

    def commit(
        self,
        offsets: Offsets,
        consumer: Consumer,
        text: str | None = None,
        notes: Notes = MappingProxyType({}),
    ) -> Outcome:
        """Make what was sent visible together with `offsets`; nothing need have been sent.

        `offsets` must not be empty: the group's coordinator checks the consumer's generation with
        them. Once it took them, whoever owns the partitions later waits for this transaction to
        end (`restore.settled_offsets`), however long this process stands still in between.
        `text` stands with the offsets, in the place of the mark that `was_committed` looks for;
        `notes` stand after that mark (`offsets.note_of`).
        """
        if not offsets:
            raise ValueError("without offsets nobody checks whose the partitions are")
        committing = False
        self.last_error = None
        try:
            producer = self._opened()
            if not self._begun:
                self._begin(producer)
            # The call ignores its own time limit where the group's coordinator is lost (librdkafka
            # issues 5456 and 5511), hence a limit of ours.
            self._calls.call_with_timeout(
                OFFSETS_SECONDS + 1.0,
                producer.send_offsets_to_transaction,
                self._mark.next(offsets, notes) if text is None else marked(offsets, text),
                membership(consumer),
                OFFSETS_SECONDS,
            )
            committing = True
            producer.commit_transaction(CALL_SECONDS)
        except TimeoutError:
            # The commit was not requested, and the next `open` ends the transaction.
            self.last_error = timed_out("sending the offsets does not end").args[0]
            self._producer = None
            self._begun = False
            return counted(Outcome.FENCED)
        except KafkaException as error:
            fault = self._cause(error.args[0])
            self.last_error = fault
            if not committing or fault.txn_requires_abort():
                outcome = self.abort()
                if self._producer is not None:
                    # Where the broker refused a record the report of that may still be queued.
                    self._producer.poll(0)
                if self.refused_record is not None:
                    # The client has counted the sequence number; the next transaction would fail.
                    self.close()
                    outcome = Outcome.FENCED
                return counted(outcome)
            self.close()
            return counted(Outcome.UNKNOWN)
        self._begun = False
        SECONDS.observe(clock.monotonic() - self._began_at)
        return counted(Outcome.COMMITTED)

    def abort(self) -> Outcome:
        """End what was begun without effect; the producer may have to be opened again."""
        if not self._begun or self._producer is None:
            return Outcome.ABORTED if self._producer is not None else Outcome.FENCED
        for _ in range(_TRIES):
            try:
                self._producer.abort_transaction(CALL_SECONDS)
                self._begun = False
                return Outcome.ABORTED
            except KafkaException as error:
                self.last_error = self.last_error or error.args[0]
                if not error.args[0].retriable():
                    break
        # It was never committed, and the next `open` ends it.
        self.close()
        return Outcome.FENCED

    def measure_clock(self, topic: str) -> None:
        """Measure the broker's time by a record to this topic that is aborted, so never read.

        Does nothing where the broker does not take it in time.
        """
        try:
            self.send_named(topic, None, None)
            self._opened().flush(OFFSETS_SECONDS)
        except (KafkaException, RecordRefused) as error:
            self.last_error = error.args[0] if isinstance(error, KafkaException) else None
        self.abort()

    @property
    def mark(self) -> str:
        """What stands with the offsets of the last transaction; see `was_committed`."""
        return str(self._mark)

    def was_committed(self, offsets: Offsets, consumer: Consumer) -> bool:
        """Whether the last transaction was committed after all; only after a new `open`.

        Raises KafkaException where the broker does not respond.
        """
        return self._mark.is_on(offsets, consumer)

    def _opened(self) -> Producer:
        if self._producer is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "the producer is not open"))
        return self._producer

    def _cause(self, fault: KafkaError) -> KafkaError:
        """Why the transaction failed, where the call only says that it had failed already.

        A record that is refused while the offsets are sent has the call end with _STATE.
        """
        if fault.code() != KafkaError._STATE or self._producer is None or not self._begun:
            return fault
        try:
            # Refused in every state with a transaction, and with the cause in that after an error.
            self._producer.begin_transaction()
        except KafkaException as error:
            told: KafkaError = error.args[0]
            return fault if told.code() == KafkaError._STATE else told
        return fault

    def _begin(self, producer: Producer) -> None:
        producer.begin_transaction()
        self._begun = True
        self._began_at = clock.monotonic()
