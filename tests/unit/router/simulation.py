"""One router partition without Kafka: records in, records out, and a clock that tests move."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from processors.router import expressions
from processors.router.cel_worker import Worker
from processors.router.partition import RouterPartition
from processors.router.plan_cache import PlanCache
from processors.router.requests import RequestHandler
from processors.router.store import StateStore
from processors.router.writing import Writer
from streams import topics
from streams.events import Event, decode_event, encode_event
from streams.ids import route_of
from streams.limits import MAX_RECORD_BYTES
from streams.topics import Topic
from toolmeta import registry

START = 1_790_000_000.0


@dataclass
class Record:
    """A record as the partition sees it; the parts of confluent-kafka's message that it reads."""

    name: str
    raw: bytes | None
    raw_key: bytes | None = None
    raw_headers: list[tuple[str, bytes]] = field(default_factory=list)

    def topic(self) -> str:
        return self.name

    def partition(self) -> int:
        return 0

    def offset(self) -> int:
        return 7

    def timestamp(self) -> tuple[int, int]:
        return 1, 1_790_000_000_000

    def key(self) -> bytes | None:
        return self.raw_key

    def value(self) -> bytes | None:
        return self.raw

    def headers(self) -> list[tuple[str, bytes]]:
        return self.raw_headers


expressions.evaluate_by(Worker())


class Captured:
    """Keeps what is sent, in the place of a transaction."""

    def __init__(self) -> None:
        self.records: list[tuple[str, bytes | None, bytes | None, Any]] = []

    def send(
        self,
        topic: Topic,
        key: bytes,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        self.records.append((topic.name, key, value, headers))

    def send_named(
        self, name: str, key: Any, value: Any, headers: Any = None, partition: int = -1
    ) -> None:
        self.records.append((name, key, value, headers))


class Simulation:
    """A router with one partition; every event it writes is checked against its contract."""

    def __init__(self, *, test_tools: bool = True) -> None:
        self.tools = registry.load(test_tools=test_tools)
        self.now = START
        self.out = Captured()
        self.partition = self._fresh()
        self.partition.restored(self.now)
        self.events: list[dict[str, Any]] = []
        self.log: list[Event] = []
        self.commands: list[dict[str, Any]] = []
        self.stops: list[dict[str, Any]] = []
        self.dead: list[tuple[str, bytes | None, dict[str, bytes]]] = []
        self.changelog: dict[bytes, bytes] = {}
        self._random = 0

    def _fresh(self) -> RouterPartition:
        store = StateStore(86_400)
        return RouterPartition(
            number=0,
            count=1,
            prefix="",
            writer=Writer("", "router"),
            store=store,
            requests=RequestHandler(0, 1, PlanCache(self.tools), store, self._bits),
        )

    def _bits(self) -> int:
        self._random += 1
        return self._random

    def restart(self) -> None:
        """Throw the partition away and restore it from the changelog."""
        self.partition = self._fresh()
        for key, value in self.changelog.items():
            self.partition.restore(key, value)
        self.partition.restored(self.now)

    def submit(self, request: Any) -> list[dict[str, Any]]:
        """Produce a request; returns the new events."""
        raw = request if isinstance(request, bytes) else orjson.dumps(request)
        return self.produce(topics.REQUESTS, raw)

    def control(self, kind: str, execution_id: str, **fields: Any) -> list[dict[str, Any]]:
        """Produce a control command; returns the new events."""
        command = {"type": kind, "execution_id": execution_id, "actor": "operator", **fields}
        return self.produce(topics.CONTROL, orjson.dumps(command), route_of(execution_id).encode())

    def report(self, kind: str, command: dict[str, Any], **fields: Any) -> list[dict[str, Any]]:
        """Produce an executor's report on a command; returns the new events."""
        base: dict[str, Any] = {
            "type": kind,
            "execution_id": command["execution_id"],
            "step": command["step"],
            "attempt": command["attempt"],
            "executor": "agent-1",
        }
        if kind in ("succeeded", "failed", "cancelled"):
            base["duration_seconds"] = 0.5
        return self.produce(topics.REPORTS, orjson.dumps({**base, **fields}))

    def run(self, command: dict[str, Any], output: Any = None) -> list[dict[str, Any]]:
        """Claim a command and succeed."""
        first = self.report("started", command)
        return first + self.report("succeeded", command, output=output)

    def fail(
        self, command: dict[str, Any], *, transient: bool = False, **fields: Any
    ) -> list[dict[str, Any]]:
        """Claim a command and fail."""
        error = {"class": "exit_status", "message": "it broke", "transient": transient}
        first = self.report("started", command)
        return first + self.report("failed", command, error=error, **fields)

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Let time pass, timer by timer."""
        seen = len(self.events)
        end = round(self.now + seconds, 3)
        while True:
            due = self.partition.next_deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, round(due + 0.0005, 3))
            self.partition.tick(self.now, self.out)
            self._collect()
        self.now = end
        return self.events[seen:]

    def take(self) -> dict[str, Any]:
        """The oldest command that nobody has taken."""
        return self.commands.pop(0)

    def produce(self, topic: Topic, raw: bytes, key: bytes | None = None) -> list[dict[str, Any]]:
        """Produce a record to a source topic; returns the new events."""
        seen = len(self.events)
        self.now = round(self.now + 0.001, 3)
        self.partition.handle(Record(topic.name, raw, key), self.now, self.out)  # type: ignore[arg-type]
        self._collect()
        return self.events[seen:]

    def _collect(self) -> None:
        self.partition.flush(self.out)
        for name, key, value, headers in self.out.records:
            if name == topics.EVENTS.name:
                assert value is not None
                event = decode_event(value)
                assert decode_event(encode_event(event)) == event
                assert len(value) <= MAX_RECORD_BYTES
                self.log.append(event)
                self.events.append(orjson.loads(value))
            elif name == topics.ROUTER_STATE.name:
                assert key is not None
                assert len(value or b"") <= MAX_RECORD_BYTES
                if value is None:
                    self.changelog.pop(key, None)
                else:
                    self.changelog[key] = value
            elif name == topics.EXECUTORS_CONTROL.name:
                self.stops.append(orjson.loads(value or b""))
            elif name.endswith(".dlq"):
                self.dead.append((name, value, dict(headers)))
            else:
                self.commands.append(orjson.loads(value or b""))
        self.out.records.clear()


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """The types of some events."""
    return [event["type"] for event in events]
