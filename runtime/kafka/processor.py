"""The exactly-once loop: poll a batch, decide, and commit it all in one Kafka transaction.

What a partition decides (records, changelog) and the offsets it consumed become visible together
or not at all. State is in memory and is restored from the changelog topic when partitions are
assigned. Deciders are called with records and the time, and send records.

The source topics have equal partition counts and are assigned by range, so the partition of the
same number of every source goes to the same process, and its state with it.

Source: `consume-transform-produce` with offsets in the transaction, KIP-98 and KIP-447.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from runtime import clock
from runtime.health import Health
from runtime.kafka import clients
from runtime.kafka.broker_clock import BrokerClock
from runtime.kafka.commit_counts import CommitCounts
from runtime.kafka.crashes import BATCH_RECORDS, Crashes
from runtime.kafka.deciding import Deciding
from runtime.kafka.dlq_limit import DlqLimit, DlqLimitReached
from runtime.kafka.lag import ConsumerLag
from runtime.kafka.outage import CONFIGURATION, PASSING, Outage, reason
from runtime.kafka.partition import DecisionError, Output, Partition
from runtime.kafka.parts import Split, parts_of
from runtime.kafka.restore import read_changelog, settled_offsets
from runtime.kafka.transaction import Transactions
from runtime.logs import Log
from runtime.readiness import Readiness
from runtime.settings import CommonSettings
from streams.topics import Topic

__all__ = ["DecisionError", "Output", "Partition", "Processor"]

#: Longest wait for a record; also how late a stop is noticed.
MAX_WAIT_SECONDS: Final = 0.25
#: Offsets of batches that produced nothing are committed this often.
LAZY_COMMIT_SECONDS: Final = 1.0
#: After a failure this long without records counts as success, if the broker answers.
IDLE_SECONDS: Final = 2.0
#: A router that was killed keeps its partitions for this long; the least that brokers allow by
#: default. Heartbeats are sent by a thread of the client library, which no decision delays.
SESSION_MS: Final = 6_000


@dataclass(slots=True)
class Processor:
    """One process of the loop; `run` returns after the stop event is set and all is committed.

    A member of the group that stops leaves it at once, since membership is dynamic: its partitions
    move to the others without waiting for its session.
    """

    settings: CommonSettings
    log: Log
    health: Health
    group: str
    sources: Sequence[Topic]
    #: What `create`d partitions are restored from; their keys say what is whose.
    changelogs: Sequence[Topic]
    create: Callable[[int], Partition]
    #: Which records hold several values, each decided about by itself.
    split: Split = lambda record: None
    #: The sources whose records may overtake each other, see runtime/kafka/local.py.
    local: Sequence[Topic] = ()
    limit: DlqLimit = field(default_factory=DlqLimit)
    #: Measures the broker's time by the records of each transaction.
    broker_clock: BrokerClock | None = None
    #: What its partitions count of their decisions.
    counts: CommitCounts = field(default_factory=CommitCounts)
    _deciding: Deciding | None = None
    _survived: dict[tuple[str, int], tuple[int, int]] = field(default_factory=dict)
    #: Partitions that were assigned and are not restored yet.
    _assigned: set[int] = field(default_factory=set)
    _is_member: bool = False
    _committed_at: float = 0.0
    _idle_since: float | None = None
    _trouble: KafkaError | None = None

    @property
    def partitions(self) -> dict[int, Partition]:
        """The partitions that are restored now; safe to copy from any thread."""
        deciding = self._deciding
        return {} if deciding is None else deciding.partitions

    def run(self, stop: threading.Event) -> None:
        """Work until `stop`; while Kafka cannot be used, wait and log the reason once.

        Raises KafkaException for a wrong client option, InstanceNameTaken where another process
        of this name takes over again and again.
        """
        outage = Outage(Readiness("kafka", ("loop",), self.health, self.log), "loop")
        while not stop.is_set():
            try:
                self._session(stop, outage)
            except KafkaException as error:
                if reason(error.args[0]).sentence == CONFIGURATION:
                    raise
                stop.wait(outage.failed(error.args[0]))
            except DlqLimitReached as error:
                self.health.waiting("kafka", f"stopped consuming: {error}")
                self.log.error("stopped consuming", why=str(error), remedy="docs/dead-letters.md")
                stop.wait()

    def _session(self, stop: threading.Event, outage: Outage) -> None:
        """From a new producer and consumer until the stop or an error that ends both."""
        options = clients.transactional(self.settings, f"{self.group}-{self.settings.instance}")
        transactions = Transactions(options, self.settings.topic_prefix, self.broker_clock)
        consumer = Consumer(
            clients.consumer(
                self.settings,
                self.group,
                **{
                    # Range keeps the same partition number of every source together.
                    "partition.assignment.strategy": "range",
                    "session.timeout.ms": SESSION_MS,
                    "heartbeat.interval.ms": SESSION_MS // 4,
                    "error_cb": self._on_error,
                },
            )
        )
        self._deciding = Deciding(
            transactions,
            consumer,
            self.settings.topic_prefix,
            self.log,
            self._restore,
            self.limit,
            Crashes(consumer, transactions, self._survived),
            frozenset(topic.name for topic in self.local),
            self.counts,
        )
        self._is_member, self._idle_since, self._trouble = False, None, None
        self._assigned.clear()
        try:
            if not transactions.open():
                raise KafkaException(transactions.last_error)
            if not self.counts.settle(consumer):
                self.log.warning("a transaction of unknown outcome is not counted")
            if self.broker_clock is not None:
                # By a topic that this process may write, and not by a changelog: a compacted topic
                # refuses a record without a key.
                transactions.measure_clock(clients.topic_name(self.settings, self.sources[-1]))
            names = [clients.topic_name(self.settings, topic) for topic in self.sources]
            consumer.subscribe(names, on_assign=self._on_assign, on_revoke=self._on_revoke)
            lag = ConsumerLag(self.group, self.settings.topic_prefix)
            while not stop.is_set():
                self._run_batch(self._deciding, outage)
                lag.sample(consumer)
            self._commit_lazily(self._deciding)
            self._deciding.crashes.settle(now=True)
        finally:
            self._close(self._deciding)

    def _run_batch(self, deciding: Deciding, outage: Outage) -> None:
        first = deciding.consumer.poll(self._wait(deciding))
        if self._assigned:
            self._restore_assigned(deciding)
        batch = [] if first is None else [first, *deciding.consumer.consume(BATCH_RECORDS - 1, 0)]
        for message in batch:
            if message.error() is not None:
                raise KafkaException(message.error())
        deciding.decide(parts_of(batch, self.split))
        if deciding.offsets and clock.monotonic() - self._committed_at > LAZY_COMMIT_SECONDS:
            self._commit_lazily(deciding)
        deciding.crashes.settle()
        self._report(batch, deciding, outage)

    def _report(self, batch: list[Message], deciding: Deciding, outage: Outage) -> None:
        """Ready means that records are being decided: assigned, restored, and the last batch
        committed; after a failure, nothing to do for a while is taken for success only if the
        broker answers.
        """
        if self._trouble is not None:
            outage.report(self._trouble)
            self._trouble = None
        if not outage.is_waiting or not self._is_member or self._assigned:
            return
        now = clock.monotonic()
        if batch:
            self._idle_since = None
            outage.recovered()
            return
        self._idle_since = self._idle_since or now
        if not outage.has_failed:
            outage.recovered()
        elif now - self._idle_since > IDLE_SECONDS and _responds(deciding.consumer):
            outage.answered()

    def _on_error(self, error: KafkaError) -> None:
        """Called from a poll: an idle consumer gets no other sign of an outage."""
        if error.code() not in PASSING:
            self._trouble = error

    def _wait(self, deciding: Deciding) -> float:
        """How long to wait for the next record: until the next deadline, but not too long."""
        due = deciding.next_deadline()
        if due is None:
            return MAX_WAIT_SECONDS
        return min(max(due - clock.now(), 0.0), MAX_WAIT_SECONDS)

    def _commit_lazily(self, deciding: Deciding) -> None:
        """Nothing was produced, so repeating it changes nothing, and it need not be soon."""
        deciding.commit_offsets()
        self._committed_at = clock.monotonic()

    def _on_assign(self, consumer: Any, assigned: list[TopicPartition]) -> None:
        self._is_member = True
        self._assigned = {part.partition for part in assigned}

    def _on_revoke(self, consumer: Any, revoked: list[TopicPartition]) -> None:
        """Range revokes all partitions. What was produced is committed already."""
        self._is_member = False
        self._assigned.clear()
        if self._deciding is not None:
            self._deciding.crashes.given_back()
            self._deciding.revoked()

    def _restore_assigned(self, deciding: Deciding) -> None:
        numbers, self._assigned = sorted(self._assigned), set()
        try:
            names = [clients.topic_name(self.settings, topic) for topic in self.sources]
            deciding.crashes.taken(names, numbers)
            self._restore(numbers)
        except BaseException:
            deciding.revoked()
            raise

    def _restore(self, numbers: Iterable[int]) -> None:
        """Replace the partitions of these numbers by ones that are restored from the changelog."""
        assert self._deciding is not None  # noqa: S101
        wanted = sorted(numbers)
        began = clock.monotonic()
        fresh = {number: self.create(number) for number in wanted}
        records = 0
        names = [clients.topic_name(self.settings, topic) for topic in self.sources]
        committed = settled_offsets(self._deciding.consumer, names, wanted)
        # What was decided since, and is not committed because nothing was produced, is further on.
        self._deciding.positions = committed | self._deciding.positions
        for changelog in self.changelogs:
            for number, key, value in read_changelog(self.settings, changelog, wanted):
                fresh[number].restore(key, value)
                records += 1
        for number, partition in fresh.items():
            partition.restored(clock.now())
            if number in self._deciding.partitions:
                # Read from the old object only now: a record may have ended a suspension meanwhile.
                for key_suspended in self._deciding.partitions[number].suspended:
                    partition.suspend(key_suspended)
        self._deciding.partitions.update(fresh)
        self.log.info(
            "partitions restored",
            partitions=wanted,
            changelog_records=records,
            seconds=round(clock.monotonic() - began, 3),
        )

    def _close(self, deciding: Deciding) -> None:
        """Leave the group and drop the producer with whatever it had open."""
        self._deciding = None
        self.counts.discard()
        deciding.revoked()
        deciding.transactions.close()
        try:
            deciding.consumer.close()
        except KafkaException as error:
            self.log.debug("the consumer did not close cleanly", error=str(error))


def _responds(consumer: Any) -> bool:
    try:
        consumer.list_topics(timeout=1.5)
    except KafkaException:
        return False
    return True
