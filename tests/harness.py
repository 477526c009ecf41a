"""The fault harness: a foreign producer, the event log as a reader sees it, and the checks."""

from __future__ import annotations

import os
import signal
import time
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import psycopg
from confluent_kafka import Consumer, KafkaError, KafkaException, Producer, TopicPartition
from psycopg.rows import dict_row

from authority.key_files import read_private
from authority.key_folder import OPERATOR
from authority.tokens import sign
from console.chain_check import Checked, Rules, check, linked
from console.chain_sources import Progress, verify_tables
from devstack.stack import LocalStack
from streams.envelope import SIGNATURE
from streams.ids import route_of
from streams.lifecycle import TERMINAL_EVENTS
from streams.topics import CONTROL, EVENTS, PROGRESS, REQUESTS, Topic, dead_letter_topic
from tests.brokers import remember
from tests.signing import cluster_of

#: Longer than a lease, a restart and the work that is left, on a busy machine.
PATIENCE_SECONDS = 150.0
_LEADERLESS = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError._UNKNOWN_PARTITION,
        KafkaError._UNKNOWN_TOPIC,
    }
)


@dataclass
class Log:
    """What came on the event topic since the start of the harness, by execution."""

    events: dict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    ids: Counter[str] = field(default_factory=Counter)

    def add(self, value: bytes, event_id: str) -> None:
        event = orjson.loads(value)
        self.events[event["execution_id"]].append(event)
        self.ids[event_id] += 1

    def ends(self, execution_id: str) -> list[str]:
        """The terminal events of an execution."""
        kinds = [event["type"] for event in self.events[execution_id]]
        return [kind for kind in kinds if kind in TERMINAL_EVENTS]


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def _end(consumer: Consumer, part: TopicPartition) -> int:
    """The end of a partition; one that was just made may have no leader yet."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            end: int = consumer.get_watermark_offsets(part, timeout=30)[1]
            return end
        except KafkaException as error:
            if error.args[0].code() not in _LEADERLESS or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class Harness:
    """One running stack and what is needed to use it, hurt it and check it."""

    def __init__(self, stack: LocalStack, ledger: Path, prefix: str = "") -> None:
        self.stack = stack
        self.ledger = ledger
        self.prefix = prefix
        self.log = Log()
        self.began_ms = time.time_ns() // 1_000_000
        self._producer = Producer({**stack.client_options, "linger.ms": 5, "log_level": 0})
        # From its end on: what earlier tests left there is long, and nobody here asks for it.
        self._consumer = self._reader(EVENTS, from_end=True)

    def _reader(self, topic: Topic, *, from_end: bool = False) -> Consumer:
        consumer = Consumer(
            {
                **self.stack.client_options,
                "group.id": f"chaos-{uuid.uuid4().hex}",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 0,
            }
        )
        parts = [TopicPartition(self.prefix + topic.name, n, 0) for n in range(topic.partitions)]
        if from_end:
            for part in parts:
                part.offset = _end(consumer, part)
        consumer.assign(parts)
        return consumer

    def close(self) -> None:
        self._consumer.close()

    def produce(
        self,
        value: bytes,
        key: bytes | None = None,
        topic: str = REQUESTS.name,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Produce as any client does: its own key or none, no headers by default, no partition."""
        given: Any = headers or []
        self._producer.produce(self.prefix + topic, value=value, key=key, headers=given)
        self._producer.poll(0)

    def control(self, kind: str, execution_id: str, **fields: Any) -> None:
        """Send a command as the operator of the stack, signed with the stack's own key."""
        private = read_private(self.stack.keys.private(OPERATOR))
        command = {"type": kind, "execution_id": execution_id, "actor": private.use.actor, **fields}
        value = orjson.dumps(command)
        cluster = cluster_of(remember(self.stack.client_options), self.prefix + CONTROL.name)
        token = sign(private, CONTROL.name, cluster, value, time.time())
        key = route_of(execution_id).encode()
        self.produce(value, key, CONTROL.name, [(SIGNATURE, token)])
        self.flush()

    def flush(self) -> None:
        assert self._producer.flush(60) == 0

    def submit(self, plans: int, steps: list[dict[str, Any]], **plan: Any) -> set[str]:
        """Submit plans; returns their idempotency keys."""
        keys = set()
        for _ in range(plans):
            key = uuid.uuid4().hex
            keys.add(key)
            request = {"idempotency_key": key, "plan": {"steps": steps, **plan}}
            self.produce(orjson.dumps(request))
        self.flush()
        return keys

    def read(self, seconds: float = 0.2) -> None:
        """Take what is new on the event topic; waits that long for the first record only."""
        first = self._consumer.poll(seconds)
        if first is None:
            return
        for message in (first, *self._consumer.consume(5_000, 0)):
            if message.error() is not None:
                continue  # The broker may be the one that is being hurt.
            headers = dict(message.headers() or [])
            if "ce_id" not in headers:
                continue  # Poison that a test has put there.
            self.log.add(message.value() or b"", _text(headers["ce_id"]))

    def ids_of(self, keys: set[str]) -> dict[str, str]:
        """idempotency key → execution id, for the executions that were accepted."""
        found = {}
        for execution_id, events in self.log.events.items():
            first = events[0]
            if first["type"] == "execution.accepted":
                key = first["data"]["idempotency_key"]
                if key in keys:
                    found[key] = execution_id
        return found

    def wait_ended(self, keys: set[str], share: float = 1.0) -> dict[str, str]:
        """Read until that share of the executions has ended; key → execution id of all known."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            self.read()
            ids = self.ids_of(keys)
            ended = sum(1 for execution_id in ids.values() if self.log.ends(execution_id))
            if ended >= len(keys) * share:
                return ids
            if time.monotonic() > deadline:
                stuck = [i for i in ids.values() if not self.log.ends(i)]
                tails = [
                    [(e["seq"], e["type"], e.get("step")) for e in self.log.events[i]][-4:]
                    for i in stuck[:3]
                ]
                raise AssertionError(
                    f"{len(keys)} submitted, {len(ids)} accepted, {ended} ended; stuck: {tails}"
                )

    def kill(self, name: str) -> int:
        """kill -9 a process of the stack; returns its pid."""
        pid = self.stack.process(name).pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        return pid

    def wait_back(self, name: str, killed: int) -> None:
        """Wait until the supervisor has replaced a killed process and it is healthy."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            process = self.stack.process(name)
            if process.pid not in (None, killed) and process.healthy:
                return
            assert time.monotonic() < deadline, f"{name} did not come back"
            time.sleep(0.1)

    def dead_letters(self, topic: Topic, count: int) -> list[tuple[bytes | None, dict[str, str]]]:
        """Wait for that many dead letters of a topic that came after the start of this harness."""
        reader = self._reader(dead_letter_topic(topic))
        found: list[tuple[bytes | None, dict[str, str]]] = []
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while len(found) < count:
                for message in reader.consume(1_000, 0.2):
                    if message.error() is None and message.timestamp()[1] >= self.began_ms:
                        given = {
                            name: _text(value)
                            for name, value in dict(message.headers() or []).items()
                        }
                        found.append((message.value(), given))
                assert time.monotonic() < deadline, f"{len(found)} of {count} dead letters"
        finally:
            reader.close()
        return found

    # -- checks ----------------------------------------------------------------------------------

    def check_log(self, ids: Iterable[str]) -> None:
        """Every execution ended once, without a gap, its chain holds, and no id stands twice."""
        for execution_id in ids:
            events = self.log.events[execution_id]
            assert len(self.log.ends(execution_id)) == 1, execution_id
            assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
            known = Checked(execution_id)
            for event in events:
                assert check(known, linked(orjson.dumps(event)), Rules()) is None, event
        assert max(self.log.ids.values()) == 1

    def check_ledger(self, ids: Iterable[str]) -> int:
        """No attempt had its effect twice; returns the number of effects."""
        wanted = set(ids)
        lines = [line.split()[:3] for line in self.ledger.read_text().splitlines()]
        effects = Counter(tuple(line) for line in lines if line[0] in wanted)
        twice = {attempt: count for attempt, count in effects.items() if count > 1}
        assert not twice, twice
        for execution_id in wanted:
            for event in self.log.events[execution_id]:
                # A step of items, or a block, has no attempt of its own.
                if event["type"] == "step.succeeded" and "attempt" in event:
                    attempt = (execution_id, event["step"], str(event["attempt"]))
                    assert effects[attempt] == 1, attempt
        return sum(effects.values())

    def check_rows(self, ids: Iterable[str]) -> int:
        """The sink holds exactly the events of the topic; returns how many."""
        wanted = set(ids)
        expected = sum(len(self.log.events[execution_id]) for execution_id in wanted)
        deadline = time.monotonic() + PATIENCE_SECONDS
        query = (
            "SELECT count(*), count(DISTINCT event_id), count(DISTINCT execution_id)"
            " FROM execution.execution_events WHERE execution_id = ANY(%s::uuid[])"
        )
        while True:
            with psycopg.connect(self.stack.database_url) as connection:
                row = connection.execute(query, [list(wanted)]).fetchone()
                assert row is not None
                if row[0] >= expected:
                    assert row == (expected, expected, len(wanted))
                    statuses = connection.execute(
                        "SELECT status::text, count(*) FROM execution.executions"
                        " WHERE execution_id = ANY(%s::uuid[]) GROUP BY 1",
                        [list(wanted)],
                    ).fetchall()
                    assert dict(statuses) == self._statuses(wanted)
                    self._check_stored_chains(wanted)
                    return expected
            assert time.monotonic() < deadline, (row, expected)
            time.sleep(0.2)

    def _check_stored_chains(self, ids: set[str]) -> None:
        with psycopg.connect(self.stack.database_url, row_factory=dict_row) as connection:
            for execution_id in ids:
                found = verify_tables(connection, execution_id, Rules(), Progress(print))
                assert not found.bad, found

    def _statuses(self, ids: set[str]) -> dict[str, int]:
        names = {"execution.timed_out": "timeout"}
        ends = [self.log.ends(execution_id)[0] for execution_id in ids]
        return dict(Counter(names.get(end, end.removeprefix("execution.")) for end in ends))

    def check_progress(self, ids: Iterable[str]) -> None:
        """The last snapshot of every execution says that it has ended, at 100 %."""
        waiting = set(ids)
        reader = self._reader(PROGRESS)
        latest: dict[str, dict[str, Any]] = {}
        deadline = time.monotonic() + PATIENCE_SECONDS
        try:
            while waiting:
                for message in reader.consume(5_000, 0.2):
                    if message.error() is None and message.value():
                        key = (message.key() or b"").decode()
                        latest[key] = orjson.loads(message.value() or b"")
                waiting = {
                    execution_id
                    for execution_id in waiting
                    if latest.get(execution_id, {}).get("percent") != 100
                }
                assert time.monotonic() < deadline, f"{len(waiting)} snapshots are not at 100 %"
        finally:
            reader.close()
