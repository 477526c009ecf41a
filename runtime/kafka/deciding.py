"""From a batch of records to committed decisions.

The whole batch is one transaction, with the local records that follow from it. Where a decision
raises, the transaction is aborted, the state of the partitions that took part is restored from the
changelog, and the records of that batch are decided again one transaction each, without local
records: then only the record that raises becomes a dead letter. Consumer and producer stay open, so
the group does not rebalance.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message
from prometheus_client import Counter

from runtime import clock
from runtime.kafka.commit_counts import CommitCounts
from runtime.kafka.crashes import BATCH_RECORDS, SLICE_RECORDS, Crashes
from runtime.kafka.dlq_limit import DlqLimit
from runtime.kafka.guard import Undecidable, guarded
from runtime.kafka.local import LocalRecords
from runtime.kafka.outcome import Outcome
from runtime.kafka.partition import DecisionError, Partition
from runtime.kafka.parts import is_consumed, next_offset
from runtime.kafka.transaction import Transactions
from runtime.kafka.trial import Discarded, ends_the_process
from runtime.logs import Log

#: The timers of a partition whose `tick` raises for no key that it can name wait this long.
TIMER_PAUSE_SECONDS: Final = 30.0

_RECORDS = Counter("runstream_records_total", "Records consumed", ["topic"])


@dataclass(slots=True)
class Deciding:
    """The decisions of one session; one thread."""

    transactions: Transactions
    consumer: Any
    prefix: str
    log: Log
    #: Replaces these partitions by new ones, restored from the changelog.
    restore: Callable[[Iterable[int]], None]
    limit: DlqLimit
    crashes: Crashes
    #: Names of source topics whose records are decided about at once if their partition is here.
    local: Collection[str] = ()
    #: What the decisions of the open transaction add to the metrics.
    counts: CommitCounts = field(default_factory=CommitCounts)
    partitions: dict[int, Partition] = field(default_factory=dict)
    #: The next offsets of what was decided and not committed, since nothing was produced.
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    #: The next offsets of every source partition here, as far as decided. A transaction of timers
    #: alone carries them: without offsets the coordinator would not check that the partition is
    #: still this member's.
    positions: dict[tuple[str, int], int] = field(default_factory=dict)
    #: Until when (Unix seconds) no timer of a partition runs.
    paused: dict[int, float] = field(default_factory=dict)
    #: The partitions whose state the last transaction has changed.
    _touched: dict[int, Partition] = field(default_factory=dict)

    def decide(self, messages: Sequence[Message]) -> None:
        """Decide about these records and all timers that are due.

        Raises KafkaException where Kafka fails: then the state here is not to be used;
        DlqLimitReached where too many records cannot be decided about.
        """
        most = SLICE_RECORDS if self.crashes.sliced else BATCH_RECORDS
        if len(messages) > most:
            # Parts of records count, too: a transaction must end in time, whatever it is made of.
            for at in range(0, len(messages), most):
                self.decide(messages[at : at + most])
            return
        now, failed = clock.now(), 0
        careful = self.crashes.careful
        if careful and any((message.partition() or 0) in careful for message in messages):
            failed = self._carefully(messages)
        else:
            try:
                # Which record ends the process is only known of one that lies in a topic.
                local = () if self.crashes.sliced else self.local
                self._decide(messages, self._due(now), now, local)
            except Undecidable as error:
                self._log(error, records=len(messages))
                failed = self._one_by_one(messages)
        if messages:
            if self.crashes.sliced:
                self.crashes.passed(messages)
            self.limit.count(len(messages), failed)
            consumed = [str(message.topic()) for message in messages if is_consumed(message)]
            for topic, count in Counts(consumed).items():
                _RECORDS.labels(topic.removeprefix(self.prefix)).inc(count)

    def commit_offsets(self) -> None:
        """Commit the offsets of batches that produced nothing; raises KafkaException.

        By the producer of the transactions, since commits of two clients may overtake each other:
        one of the consumer that the broker gets late would take back the offsets of a transaction,
        and its records would be decided again.
        """
        if self.offsets:
            self._commit_transaction({})

    def revoked(self) -> None:
        """No partition is assigned any more; everything that was produced is committed."""
        self.partitions.clear()
        self.offsets.clear()
        self.positions.clear()
        self.paused.clear()
        self.crashes.clear()

    def next_deadline(self) -> float | None:
        """When the next timer is due, in Unix seconds."""
        moments = []
        for number, partition in self.partitions.items():
            due = partition.next_deadline()
            if due is not None:
                moments.append(max(due, self.paused.get(number, due)))
        return min(moments, default=None)

    def _due(self, now: float) -> list[int]:
        found = []
        for number, partition in self.partitions.items():
            due = partition.next_deadline()
            if due is not None and max(due, self.paused.get(number, due)) <= now:
                found.append(number)
        return found

    def _decide(
        self,
        messages: Iterable[Message],
        due: Iterable[int],
        now: float,
        local: Collection[str] = (),
    ) -> None:
        """All of it in one transaction, or no transaction where nothing is sent."""
        out = LocalRecords(self.transactions, self.prefix, local, self.partitions)
        touched = self._touched = {}
        offsets: dict[tuple[str, int], int] = {}
        for message in messages:
            number = message.partition() or 0
            partition = self.partitions.get(number)
            if partition is None:
                continue  # Revoked while this batch was read; its new owner reads it again.
            touched[number] = partition
            guarded("handle", partition.handle, message, now, out)
            offsets[str(message.topic()), number] = next_offset(message)
        for number in due:
            touched[number] = self.partitions[number]
            guarded("tick", touched[number].tick, now, out)
            here = {where: at for where, at in self.positions.items() if where[1] == number}
            offsets = here | offsets
        while (record := out.take()) is not None:
            number = record.partition() or 0
            touched[number] = self.partitions[number]
            guarded("handle", touched[number].handle, record, now, out)
            # Whoever has this partition later has to wait for this transaction, too.
            where = str(record.topic()), number
            offsets.setdefault(where, self.positions[where])
        for partition in touched.values():
            guarded("flush", partition.flush, out)
        self._commit(offsets)

    def _commit(self, offsets: dict[tuple[str, int], int]) -> None:
        if not self.transactions.has_begun:
            self.counts.committed()
            self.offsets |= offsets
            self.positions |= offsets
        else:
            self._commit_transaction(offsets)

    def _commit_transaction(self, offsets: dict[tuple[str, int], int]) -> None:
        outcome = self.transactions.commit(self.offsets | offsets, self.consumer)
        if outcome is Outcome.UNKNOWN:
            self.counts.unknown(self.transactions.mark, self.offsets | offsets)
        if outcome is Outcome.COMMITTED:
            self.counts.committed()
            self.crashes.moved(self.offsets | offsets)
            self.offsets.clear()
            self.positions |= offsets
        elif self.transactions.refused_record is not None and outcome is not Outcome.UNKNOWN:
            raise Undecidable("commit") from KafkaException(self.transactions.refused_record)
        else:
            raise KafkaException(self.transactions.last_error or KafkaError(KafkaError._FAIL))

    def _one_by_one(self, messages: Sequence[Message]) -> int:
        """The same again, one transaction for each record and for each partition's timers.

        Returns how many records became dead letters.
        """
        numbers = {message.partition() or 0 for message in messages}.union(self._touched)
        self._discard(numbers.union(self._due(clock.now())) & self.partitions.keys())
        failed = 0
        for message in messages:
            failed += self._alone(message, len(messages), failed)
        for number in self._due(clock.now()):
            self._tick(number)
        return failed

    def _alone(self, message: Message, records: int, failed: int) -> bool:
        """One record in its own transaction; returns whether it became a dead letter.

        `records` and `failed` are those of the batch, for the limit.
        """
        try:
            self._decide([message], [], clock.now())
        except Undecidable as error:
            self._log(
                error,
                topic=message.topic(), partition=message.partition(), offset=message.offset(),
            )  # fmt: skip
            self.limit.check(records, failed + 1)
            self._discard([message.partition() or 0])
            self._dead_letter(message, "decision_failed")
            return True
        return False

    def _carefully(self, messages: Sequence[Message]) -> int:
        """One transaction for each record, since one of them may have ended the process before.

        Timers come after. Returns how many records became dead letters.
        """
        failed = 0
        for message in messages:
            if message.partition() not in self.partitions:
                continue
            if self.crashes.is_suspected(message) and self._ends_the_process(message):
                self.limit.check(len(messages), failed + 1)
                self._dead_letter(message, "decision_crashed")
                failed += 1
            else:
                self.crashes.deciding(message)
                failed += self._alone(message, len(messages), failed)
            if is_consumed(message):
                self.crashes.decided(message)
        for number in self._due(clock.now()):
            self._tick(number)
        return failed

    def _ends_the_process(self, message: Message) -> bool:
        """Whether this record ends a copy of this process, which is what makes it a dead letter.

        The process may have been ended by others each time, while it waited for the broker.
        """
        number = message.partition() or 0
        partition = self.partitions[number]

        def decide() -> None:
            out = Discarded()
            partition.handle(message, clock.now(), out)
            partition.flush(out)

        ended = ends_the_process(decide)
        self.log.error(
            "the process has ended each time that this record was decided about",
            topic=message.topic(), partition=number, offset=message.offset(), ends_a_copy=ended,
        )  # fmt: skip
        # The copy may have written to the files of this partition's state.
        self.restore([number])
        return ended

    def _dead_letter(self, message: Message, error_class: str) -> None:
        number = message.partition() or 0
        self.partitions[number].dead_letter(message, error_class, self.transactions)
        self._commit({(str(message.topic()), number): next_offset(message)})

    def _tick(self, number: int) -> None:
        try:
            self._decide([], [number], clock.now())
        except Undecidable as error:
            self._log(error, partition=number)
            self._discard([number])
            if isinstance(error.__cause__, DecisionError):
                self.partitions[number].suspend(error.__cause__.key)
            else:
                self.paused[number] = clock.now() + TIMER_PAUSE_SECONDS

    def _discard(self, numbers: Iterable[int]) -> None:
        """Abort, and go back to the state that is committed.

        The producer is opened anew: an abort drops records that are in flight, and its next
        transaction could then be refused for a gap in its sequence numbers. Defects are rare.
        """
        self.counts.discard()
        self.transactions.abort()
        if not self.transactions.open():
            raise KafkaException(self.transactions.last_error or KafkaError(KafkaError._TIMED_OUT))
        self.restore(numbers)

    def _log(self, error: Undecidable, **where: Any) -> None:
        cause = error.__cause__ or error
        self.log.error(
            "cannot be decided about", stage=error.stage, **where,
            exc_info=(type(cause), cause, cause.__traceback__),
        )  # fmt: skip
