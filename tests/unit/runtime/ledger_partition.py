"""A partition that keeps totals by key, and a broker in memory for the loop around it."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from runtime.kafka.crashes import Crashes
from runtime.kafka.deciding import Deciding
from runtime.kafka.dlq_limit import DlqLimit
from runtime.kafka.outcome import Outcome
from runtime.kafka.partition import DecisionError
from runtime.kafka.parts import parts_of
from streams.topics import EVENTS, LOCK_COMMANDS, ROUTER_STATE

#: Keys of records that lie in partition 0, which `Loop` has, and in another one.
PLACES = {"here": b"2", "elsewhere": b"0"}

_SILENT: Any = structlog.wrap_logger(structlog.ReturnLogger(), processors=[])


@dataclass
class FakeBroker:
    """Takes the place of the transactions: what is committed, and nothing else, is kept.

    `kill_at` counts commits of a process: it is killed before the commit if the number is even,
    after it if it is odd.
    """

    committed: list[tuple[str, bytes | None, bytes | None]] = field(default_factory=list)
    offsets: dict[tuple[str, int], int] = field(default_factory=dict)
    marks: dict[tuple[str, int], str] = field(default_factory=dict)
    commits: int = 0
    #: Commits of marks alone.
    marked: int = 0
    takes_no_records: bool = False
    kill_at: int | None = None
    refuses: bytes | None = None
    refused_record: KafkaError | None = None
    last_error: KafkaError | None = None
    has_begun: bool = False
    _open: list[tuple[str, bytes | None, bytes | None]] = field(default_factory=list)

    def send(self, topic: Any, key: bytes, value: bytes | None, *_: Any) -> None:
        self.send_named(topic.name, key, value)

    def send_named(self, name: str, key: bytes | None, value: bytes | None, *_: Any) -> None:
        self.has_begun = True
        self._open.append((name, key, value))

    def commit(
        self, offsets: dict[tuple[str, int], int], consumer: Any, text: str | None = None
    ) -> Outcome:
        if self.takes_no_records and self._open:
            raise KafkaException(KafkaError(KafkaError._TRANSPORT))
        self._die_if_due()
        if any(value == self.refuses for name, _, value in self._open if name == EVENTS.name):
            self.refused_record = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)
            return self.abort()
        self.refused_record = None
        self.committed += self._open
        self.offsets |= offsets
        self.marks |= dict.fromkeys(offsets, "0:1" if text is None else text)
        self.commits += text is None
        self.marked += text is not None
        self.abort()
        self._die_if_due()
        return Outcome.COMMITTED

    def _die_if_due(self) -> None:
        if self.kill_at is not None:
            self.kill_at -= 1
            if self.kill_at < 0:
                raise SystemExit

    def abort(self) -> Outcome:
        self._open.clear()
        self.has_begun = False
        return Outcome.ABORTED

    def open(self) -> bool:
        self._open.clear()
        self.has_begun = False
        return True

    def of(self, topic: str) -> list[bytes | None]:
        return [value for name, _, value in self.committed if name == topic]


@dataclass
class Totals:
    """Counts records by their first letter; the rest of a record says how it misbehaves."""

    totals: dict[str, int] = field(default_factory=dict)
    changed: set[str] = field(default_factory=set)
    suspended: Collection[str] = field(default_factory=set)
    due: set[str] = field(default_factory=set)
    broken_timers: set[str] = field(default_factory=set)
    flush_fails: bool = False
    every_tick_fails: bool = False

    def restore(self, key: bytes, value: bytes | None) -> None:
        self.totals[key.decode()] = int(value or b"0")

    def restored(self, now: float) -> None:
        """There is nothing to derive."""

    def handle(self, message: Any, now: float, out: Any) -> None:
        key, _, how = message.value().decode().partition(":")
        # The state is changed before anything fails: it has to be thrown away.
        self.totals[key] = self.totals.get(key, 0) + 1
        self.changed.add(key)
        if how == "handle":
            raise KeyError("a defect")
        if how == "crash":
            raise SystemExit
        if how == "nothing":
            self.changed.discard(key)
            return
        self.flush_fails |= how == "flush"
        where, _, asked = how.partition("-")
        if where in PLACES:
            out.send(LOCK_COMMANDS, PLACES[where], asked.encode())
        out.send(EVENTS, key.encode(), message.value())

    def dead_letter(self, message: Any, error_class: str, out: Any) -> None:
        out.send_named("source.dlq", None, message.value())

    def next_deadline(self) -> float | None:
        if self.every_tick_fails:
            return 0.0
        return 0.0 if self.due - set(self.suspended) else None

    def tick(self, now: float, out: Any) -> None:
        if self.every_tick_fails:
            raise ValueError("a defect")
        for key in sorted(self.due - set(self.suspended)):
            if key in self.broken_timers:
                raise DecisionError(key)
            self.due.discard(key)
            out.send(EVENTS, key.encode(), b"tick " + key.encode())

    def suspend(self, key: str) -> None:
        self.suspended = {*self.suspended, key}

    def flush(self, out: Any) -> None:
        if self.flush_fails:
            raise KeyError("a defect")
        for key in sorted(self.changed):
            out.send(ROUTER_STATE, key.encode(), str(self.totals[key]).encode())
        self.changed.clear()


def lines_of(record: Message) -> list[bytes] | None:
    """The values of a record that holds several."""
    value = record.value() or b""
    return value.split(b"\n") if b"\n" in value else None


class Committing:
    """The consumer's side of the committed offsets, with their marks."""

    def __init__(self, broker: FakeBroker) -> None:
        self.broker = broker

    def committed(self, wanted: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        found = []
        for one in wanted:
            where = (one.topic, one.partition)
            offset = self.broker.offsets.get(where, -1001)
            found.append(TopicPartition(*where, offset, self.broker.marks.get(where, "")))
        return found

    def commit(self, offsets: list[TopicPartition], asynchronous: bool) -> None:
        assert asynchronous, "nobody may wait for the broker in a rebalance"
        for one in offsets:
            self.broker.offsets[one.topic, one.partition] = one.offset
            self.broker.marks[one.topic, one.partition] = one.metadata or ""


class Loop:
    """The deciding part of the loop over one partition, restored from the broker in memory."""

    def __init__(
        self,
        broker: FakeBroker | None = None,
        survived: dict[tuple[str, int], tuple[int, int]] | None = None,
        local: Collection[str] = (),
        **settings: Any,
    ) -> None:
        self.broker = broker or FakeBroker()
        self.settings = settings
        self.restores = 0
        transactions: Any = self.broker
        self.consumer = Committing(self.broker)
        known = {} if survived is None else survived
        self.crashes = Crashes(self.consumer, transactions, known)
        self.deciding = Deciding(
            transactions, self.consumer, "", _SILENT, self.restore, DlqLimit(), self.crashes, local
        )
        self.crashes.taken(["source"], [0])
        self.restore([0])

    def restore(self, numbers: Iterable[int]) -> None:
        before = self.deciding.partitions.get(0)
        self.restores += 1
        # Timers are derived from the state, so they are there again after each restore.
        fresh = Totals(**{name: type(v)(v) for name, v in self.settings.items()})
        for name, key, value in self.broker.committed:
            if name == ROUTER_STATE.name:
                fresh.restore(key or b"", value)
        ticked = [v for v in self.broker.of(EVENTS.name) if v and v.startswith(b"tick ")]
        fresh.due -= {v.removeprefix(b"tick ").decode() for v in ticked}
        for key_suspended in before.suspended if before is not None else ():
            fresh.suspend(key_suspended)
        self.deciding.partitions[0] = fresh

    def decide(self, texts: list[bytes]) -> None:
        self.decide_from(0, texts)

    def decide_from(self, first: int, texts: list[bytes]) -> None:
        """The records from this offset on."""
        records = [
            Message(topic="source", partition=0, offset=at, value=text, timestamp=(1, 0))
            for at, text in enumerate(texts)
            if at >= first
        ]
        self.deciding.decide(parts_of(records, lines_of))
