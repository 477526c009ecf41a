"""The claim transaction: reports, dead letters and offsets, all of them or none."""

from __future__ import annotations

import enum
import secrets
from collections.abc import Iterable, Mapping
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition

from runtime.kafka.calls import WatchedCalls
from runtime.kafka.dead_letters import HeaderList
from streams.envelope import Headers

#: Of one call. A commit that takes longer has an unknown end, and the producer is replaced.
CALL_SECONDS: Final = 10.0
OFFSETS_SECONDS: Final = 5.0
_TRIES: Final = 5
_BY_KEY: Final = -1

Offsets = Mapping[tuple[str, int], int]


class Output(NamedTuple):
    """One record of the transaction; without a partition its key chooses."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Headers | HeaderList
    partition: int | None = None


class Outcome(enum.Enum):
    """What became of a transaction."""

    COMMITTED = "committed"
    #: Nothing of it will ever be seen; the consumer must go back.
    ABORTED = "aborted"
    #: The same, and the producer is of no more use.
    FENCED = "fenced"
    #: The producer must be replaced; then `was_committed` tells.
    UNKNOWN = "unknown"


class ClaimTransactions:
    """The transactional producer of one lane; one thread only.

    librdkafka ends transactions by protocol version 1, where a late end could meet the next
    transaction of the same producer (KAFKA-17754): after a call whose end is unknown the producer
    is thrown away, and the next one's `init_transactions` fences whatever is still on its way.
    """

    def __init__(self, options: Mapping[str, Any]) -> None:
        """Opens nothing; `options` hold the transactional id."""
        self._options = dict(options)
        self._producer: Producer | None = None
        # The mark of each claim travels as commit metadata: it proves whose commit it was.
        self._mark = secrets.token_hex(6)
        self._count = 0
        self._partitions: dict[str, int] = {}
        self._calls = WatchedCalls("offsets")
        self.last_error: KafkaError | None = None

    @property
    def is_open(self) -> bool:
        """Whether `commit` may be called."""
        return self._producer is not None

    def open(self, timeout_seconds: float = CALL_SECONDS) -> bool:
        """Fence any predecessor and get ready; False where the broker did not answer in time.

        Raises KafkaException where trying again is of no use (authorisation, configuration).
        """
        self.close()
        producer = Producer(self._options)
        try:
            producer.init_transactions(timeout_seconds)
        except KafkaException as error:
            self.last_error = error.args[0]
            if error.args[0].retriable() or error.args[0].code() in _AWAY:
                return False
            raise
        self._producer = producer
        return True

    def close(self) -> None:
        """Drop the producer with everything it holds; it may be opened again."""
        self._calls.close()
        if self._producer is not None:
            self._producer.purge()
            self._producer = None

    def partitions_of(self, topic: str) -> int:
        """How many partitions `topic` has now; raises KafkaException."""
        if topic not in self._partitions:
            found = self._opened().list_topics(topic, timeout=5.0).topics[topic]
            if found.error is not None:
                raise KafkaException(found.error)
            self._partitions[topic] = len(found.partitions)
        return self._partitions[topic]

    def commit(self, outputs: Iterable[Output], offsets: Offsets, consumer: Consumer) -> Outcome:
        """Produce `outputs` and commit `offsets` (the next to read, per topic and partition)."""
        producer = self._opened()
        self._count += 1
        self.last_error = None
        committing = False
        try:
            producer.begin_transaction()
            for output in outputs:
                producer.produce(
                    output.topic,
                    output.value,
                    key=output.key,
                    headers=[*output.headers],
                    partition=_BY_KEY if output.partition is None else output.partition,
                )
            # It ignores its own time limit where the group's coordinator went away (librdkafka
            # issues 5456 and 5511), hence the watch.
            self._calls.call(
                OFFSETS_SECONDS + 1.0,
                producer.send_offsets_to_transaction,
                [TopicPartition(*where, offset, self.mark) for where, offset in offsets.items()],
                consumer.consumer_group_metadata(),
                OFFSETS_SECONDS,
            )
            committing = True
            producer.commit_transaction(CALL_SECONDS)
        except TimeoutError:
            # The commit was never asked for, and the next `open` fences this producer.
            self._producer = None
            return Outcome.FENCED
        except BufferError:
            return self._abort(producer)
        except KafkaException as error:
            fault: KafkaError = error.args[0]
            self.last_error = fault
            if fault.txn_requires_abort():
                return self._abort(producer)
            self.close()
            return Outcome.UNKNOWN if committing else Outcome.FENCED
        return Outcome.COMMITTED

    def was_committed(self, offsets: Offsets, consumer: Consumer) -> bool:
        """Whether the last transaction was committed after all; only after a new `open`.

        Raises KafkaException where the broker does not say.
        """
        places = [TopicPartition(*where) for where in offsets]
        found = consumer.committed(places, timeout=CALL_SECONDS)
        return all(
            place.error is None
            and place.offset == offsets[place.topic, place.partition]
            and place.metadata == self.mark
            for place in found
        )

    @property
    def mark(self) -> str:
        """The mark of the last transaction."""
        return f"{self._mark}:{self._count}"

    def _opened(self) -> Producer:
        if self._producer is None:
            raise KafkaException(KafkaError(KafkaError._STATE, "the producer is not open"))
        return self._producer

    def _abort(self, producer: Producer) -> Outcome:
        for _ in range(_TRIES):
            try:
                producer.abort_transaction(CALL_SECONDS)
                return Outcome.ABORTED
            except KafkaException as error:
                if not error.args[0].retriable():
                    break
        # It was never committed, and the next `open` ends it for good.
        self.close()
        return Outcome.FENCED


_AWAY: Final = frozenset(
    {KafkaError._TIMED_OUT, KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN}
)
