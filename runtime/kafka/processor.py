"""The exactly-once loop: poll a batch, decide, and commit it all in one Kafka transaction.

What a partition decides (records, changelog) and the offsets it consumed become visible together
or not at all. State lives in memory and is restored from the changelog topic when partitions are
assigned. Deciders know nothing of this: they see records and moments, and send.

The source topics have equal partition counts and are assigned by range, so the partition of the
same number of every source is always here together; its state is here with it.

Source: `consume-transform-produce` with offsets in the transaction, KIP-98 and KIP-447.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from prometheus_client import Counter, Histogram

from runtime import clock
from runtime.health import Health
from runtime.kafka import clients
from runtime.kafka.calls import WatchedCalls
from runtime.kafka.restore import read_changelog
from runtime.logs import Log
from runtime.settings import CommonSettings
from streams.topics import Topic

MAX_BATCH: Final = 1_000
#: Longest wait for a record; also how late a new deadline or a stop is noticed.
MAX_WAIT_SECONDS: Final = 0.25
#: Offsets of batches that produced nothing are committed this often.
LAZY_COMMIT_SECONDS: Final = 1.0
TRANSACTION_SECONDS: Final = 10.0
#: Waits between attempts to work with a broker that is away.
RETRY_SECONDS: Final = (0.1, 0.5, 1.0, 2.0, 5.0)

_TRANSACTIONS = Counter("runstream_transactions_total", "Transactions", ["outcome"])
_COMMIT = Histogram(
    "runstream_transaction_seconds",
    "From the first record sent to the commit",
    buckets=(0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 1, 5, 15),
)
_RECORDS = Counter("runstream_records_total", "Records consumed", ["topic"])


class DecisionError(Exception):
    """A defect: time alone should have changed the state under `key`, and the decision raised."""

    def __init__(self, key: str) -> None:
        """`key` is what `Partition.suspend` takes."""
        super().__init__(key)
        self.key = key


class Partition(Protocol):
    """What decides for one partition: pure state with a few entry points."""

    def restore(self, key: bytes, value: bytes | None) -> None:
        """Take one changelog record, oldest first."""

    def restored(self, now: float) -> None:
        """The changelog is read; timers start."""

    def handle(self, message: Message, now: float, out: Output) -> None:
        """Decide about one record."""

    def dead_letter(self, message: Message, out: Output) -> None:
        """Send a record that cannot be decided about to its dead-letter topic."""

    def next_deadline(self) -> float | None:
        """When `tick` wants to be called, in Unix seconds."""

    def tick(self, now: float, out: Output) -> None:
        """Decide what time alone decides; raises DecisionError where that fails for one key."""

    def suspend(self, key: str) -> None:
        """Run no timer of this key until a record changes it: its last decision failed."""

    def flush(self, out: Output) -> None:
        """The batch is over: send what was held back (changelog records)."""


@dataclass(slots=True)
class Output:
    """Where deciders send; the first record opens the transaction."""

    producer: Producer
    prefix: str
    open: bool = False
    began: float = 0.0

    def send(
        self,
        topic: Topic,
        key: bytes,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        """Add one record to the transaction; blocks while the client's queue is full."""
        self.send_named(self.prefix + topic.name, key, value, headers, partition)

    def send_named(
        self,
        name: str,
        key: bytes | None,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        """The same, by the topic's full name."""
        if not self.open:
            self.producer.begin_transaction()
            self.open = True
            self.began = clock.monotonic()
        try:
            self.producer.produce(name, value=value, key=key, partition=partition, headers=headers)
        except BufferError:
            self._wait_for_room(name, key, value, headers, partition)

    def _wait_for_room(
        self, name: str, key: bytes | None, value: bytes | None, headers: Any, partition: int
    ) -> None:
        deadline = clock.monotonic() + TRANSACTION_SECONDS
        while clock.monotonic() < deadline:
            self.producer.poll(0.05)
            try:
                self.producer.produce(
                    name, value=value, key=key, partition=partition, headers=headers
                )
                return
            except BufferError:
                continue
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT, "the producer's queue stays full"))


@dataclass(slots=True)
class Processor:
    """One process of the loop; `run` returns after the stop event is set and all is committed."""

    settings: CommonSettings
    log: Log
    health: Health
    group: str
    sources: Sequence[Topic]
    changelog: Topic
    create: Callable[[int], Partition]
    partitions: dict[int, Partition] = field(default_factory=dict)
    _consumer: Any = None
    _out: Output | None = None
    _uncommitted: bool = False
    _committed_at: float = 0.0
    _restore: set[int] = field(default_factory=set)
    _away: bool = False
    _calls: WatchedCalls = field(default_factory=lambda: WatchedCalls("offsets"))
    _chokes_on: tuple[str | None, int | None, int | None] | None = None

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`; a broker that is away is waited for, and said once."""
        failures = 0
        while not stop.is_set():
            try:
                self._session(stop)
                failures = 0
            except KafkaException as error:
                self._close()
                if error.args[0].code() == KafkaError._APPLICATION:
                    continue  # Ours, said already, and not the broker's.
                if self.health.waiting("kafka", "the broker does not answer"):
                    self.log.warning("the broker does not answer; waiting", error=str(error))
                else:
                    self.log.debug("still waiting for the broker", error=str(error))
                stop.wait(RETRY_SECONDS[min(failures, len(RETRY_SECONDS) - 1)])
                failures += 1
        self._close()

    def _session(self, stop: threading.Event) -> None:
        """From a fresh producer and consumer until the stop or an error that ends both."""
        producer = Producer(
            clients.transactional(self.settings, f"{self.group}-{self.settings.instance}")
        )
        producer.init_transactions(30)
        self._out = Output(producer, self.settings.topic_prefix)
        self._consumer = Consumer(
            clients.consumer(
                self.settings,
                self.group,
                **{
                    # Range keeps the same partition number of every source together.
                    "partition.assignment.strategy": "range",
                    "session.timeout.ms": 10_000,
                    "heartbeat.interval.ms": 2_000,
                    "error_cb": self._on_error,
                    **self._membership(),
                },
            )
        )
        names = [clients.topic_name(self.settings, topic) for topic in self.sources]
        self._consumer.subscribe(names, on_assign=self._assigned, on_revoke=self._revoked)
        while not stop.is_set():
            self._turn()
        if self._uncommitted:
            self._commit_lazily()

    def _membership(self) -> dict[str, str]:
        """A named instance that comes back takes its place again at once (static membership);
        otherwise the group waits for the session of the one that was killed to run out."""
        named = "instance" in self.settings.model_fields_set
        return {"group.instance.id": self.settings.instance} if named else {}

    def _on_error(self, error: KafkaError) -> None:
        """Called from a poll: an idle consumer hears of an outage in no other way."""
        if error.code() == KafkaError._ALL_BROKERS_DOWN and not self._away:
            self._away = True
            if self.health.waiting("kafka", "the broker does not answer"):
                self.log.warning("the broker does not answer; waiting", error=error.str())

    def _look_again(self) -> None:
        try:
            self._consumer.list_topics(timeout=0.5)
        except KafkaException:
            return
        self._away = False
        if self.partitions:  # Without any, whoever restores them says that it is ready.
            self.health.ready("kafka")
        self.log.info("the broker answers again")

    def _turn(self) -> None:
        if self._away:
            self._look_again()
        consumer, out = self._consumer, self._out
        assert out is not None  # noqa: S101
        first = consumer.poll(self._wait())
        if self._restore:
            self._restore_assigned()
        batch = [first] if first is not None else []
        if first is not None:
            batch += consumer.consume(MAX_BATCH - 1, 0)
        now = clock.now()
        touched: dict[int, Partition] = {}
        for message in batch:
            if message.error() is not None:
                raise KafkaException(message.error())
            number = message.partition()
            partition = self.partitions.get(number)
            if partition is None:
                continue  # Revoked while this batch was read; its new owner reads it again.
            touched[number] = partition
            self._handle(partition, message, now, out)
        for number, partition in self.partitions.items():
            due = partition.next_deadline()
            if due is not None and due <= now:
                touched[number] = partition
                partition.tick(now, out)
        for partition in touched.values():
            partition.flush(out)
        if out.open:
            self._commit(out)
        elif batch:
            self._uncommitted = True
        if self._uncommitted and clock.monotonic() - self._committed_at > LAZY_COMMIT_SECONDS:
            self._commit_lazily()
        if batch:
            _RECORDS.labels("all").inc(len(batch))

    def _handle(self, partition: Partition, message: Message, now: float, out: Output) -> None:
        """Decide about a record; one that a defect of ours chokes on is parked, not retried.

        The defect may have left half a decision behind, so everything is thrown away and restored
        first; when the record comes again it goes to the dead letters.
        """
        place = (message.topic(), message.partition(), message.offset())
        if place == self._chokes_on:
            partition.dead_letter(message, out)
            return
        try:
            partition.handle(message, now, out)
        except KafkaException:
            raise
        except Exception as error:
            self._chokes_on = place
            self.log.exception("a record cannot be decided about", place=place)
            raise KafkaException(
                KafkaError(KafkaError._APPLICATION, type(error).__name__)
            ) from error

    def _wait(self) -> float:
        """How long to wait for the next record: until the next deadline, but not too long."""
        now = clock.now()
        wait = MAX_WAIT_SECONDS
        for partition in self.partitions.values():
            due = partition.next_deadline()
            if due is not None:
                wait = min(wait, due - now)
        return max(wait, 0.0)

    def _commit(self, out: Output) -> None:
        """Make the batch visible, with its offsets; anything but success starts a new session.

        A transaction call that times out leaves the producer in doubt (librdkafka speaks EndTxn
        v1, without KIP-890), so it is never used again: the new session's producer fences it and
        state is restored from what was really committed.
        """
        try:
            # It ignores its own time limit where the group's coordinator went away (librdkafka
            # issues 5456 and 5511), hence the watch.
            self._calls.call(
                TRANSACTION_SECONDS + 1.0,
                out.producer.send_offsets_to_transaction,
                self._positions(),
                self._consumer.consumer_group_metadata(),
                TRANSACTION_SECONDS,
            )
            out.producer.commit_transaction(TRANSACTION_SECONDS)
        except TimeoutError:
            _TRANSACTIONS.labels("failed").inc()
            raise KafkaException(
                KafkaError(KafkaError._TIMED_OUT, "sending the offsets does not end")
            ) from None
        except KafkaException:
            _TRANSACTIONS.labels("failed").inc()
            raise
        out.open = False
        self._uncommitted = False
        self._committed_at = clock.monotonic()
        _TRANSACTIONS.labels("committed").inc()
        _COMMIT.observe(clock.monotonic() - out.began)

    def _positions(self) -> list[TopicPartition]:
        """The next offset of every partition of which anything was read."""
        places = self._consumer.position(self._consumer.assignment())
        return [place for place in places if place.offset >= 0]

    def _commit_lazily(self) -> None:
        """Nothing was produced, so a repetition would do no harm; no transaction is needed."""
        positions = self._positions()
        if positions:
            self._consumer.commit(offsets=positions, asynchronous=True)
        self._uncommitted = False
        self._committed_at = clock.monotonic()

    def _assigned(self, consumer: Any, assigned: list[TopicPartition]) -> None:
        self._restore.update(part.partition for part in assigned)

    def _restore_assigned(self) -> None:
        """Read the changelog of every partition that was just assigned."""
        numbers = sorted(self._restore - self.partitions.keys())
        self._restore.clear()
        began = clock.monotonic()
        fresh = {number: self.create(number) for number in numbers}
        records = 0
        for number, key, value in read_changelog(self.settings, self.changelog, numbers):
            fresh[number].restore(key, value)
            records += 1
        for partition in fresh.values():
            partition.restored(clock.now())
        self.partitions.update(fresh)
        self.health.ready("kafka")
        self.log.info(
            "partitions assigned",
            partitions=numbers,
            changelog_records=records,
            seconds=round(clock.monotonic() - began, 3),
        )

    def _revoked(self, consumer: Any, revoked: list[TopicPartition]) -> None:
        """Everything decided is committed after each batch, so there is nothing to save."""
        for part in revoked:
            self.partitions.pop(part.partition, None)
        self._restore.clear()
        self._uncommitted = False

    def _close(self) -> None:
        """Leave the group and drop the producer with whatever it had open."""
        self.partitions.clear()
        self._restore.clear()
        self._uncommitted = False
        consumer, self._consumer = self._consumer, None
        self._out = None
        if consumer is not None:
            try:
                consumer.close()
            except KafkaException as error:
                self.log.debug("the consumer did not close cleanly", error=str(error))
