"""One router partition without Kafka: records in, records out, and a clock that tests move."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import orjson
from confluent_kafka import Message

from authority.identity import Forged, Signer
from authority.policy import Policy
from authority.policy_file import parse
from processors.locks.partition import KeeperPartition
from processors.router.authentication import Authentication
from processors.router.hosting import Hosted
from processors.router.partition import RouterPartition
from processors.router.plan_cache import PlanCache
from processors.router.procedures import Library
from processors.router.requests import RequestHandler
from processors.router.signed_output import SignedOutput
from processors.router.store import StateStore
from processors.router.writing import Writer
from runtime.cel import expressions
from runtime.cel.reserve import Reserve
from runtime.cel.worker import Worker
from runtime.kafka.parts import parts_of
from runtime.trace_settings import Sampling
from streams import report_lines, topics
from streams.actors import ACTOR, ANONYMOUS
from streams.events import Event, decode_event, encode_event
from streams.ids import route_of
from streams.limits import MAX_RECORD_BYTES
from streams.locks import LOCK_ANSWER, LOCK_COMMAND
from streams.schedules import SCHEDULE_COMMAND, AnyScheduleCommand
from streams.topics import Topic
from toolmeta import registry

START = 1_790_000_000.0
BREACHED = "execution.sla_breached"


class _Ample(Reserve):
    """Always full: what one test has used is not missing to the next one."""

    def use(self, seconds: float) -> None:
        """Nothing is used up."""


#: The child process of all simulations.
_WORKER = Worker(_Ample())
expressions.evaluate_by(_WORKER)


#: Everybody may do everything: what the policy refuses has tests of its own.
OPEN_POLICY = """
version: 1
rules:
  - {id: everybody, effect: allow, actors: ["*", anonymous], actions: ["*"], secrets: ["*"]}
  - {id: everybody-controls, effect: allow, actors: ["*", anonymous], controls: ["*"]}
"""


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


class EverybodySigns:
    """Every record that names an actor is signed with a key of that actor."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation

    def signer(self, message: Any, topic: Topic, now: float) -> Signer | Forged | None:
        try:
            record = orjson.loads(message.value() or b"")
            actor, tenant = str(record["actor"]), str(record.get("tenant", "default"))
        except (ValueError, KeyError, TypeError):
            return None
        if topic is topics.CONTROL:
            store = self._simulation.partition.store
            known = store.living.get(record["execution_id"]) or store.entry(record["execution_id"])
            tenant = record.get("tenant") or (known.tenant if known is not None else tenant)
        if actor == ANONYMOUS or re.fullmatch(ACTOR, actor) is None:
            return None  # Nobody has a key of such a name.
        return Signer(f"key of {actor.lower()}", tenant, actor, round(now * 1_000_000))

    def of_key(self, kid: str, signed_at: int, now: float) -> Signer | Forged:
        return Signer(kid, "default", kid.removeprefix("key of "), signed_at)

    def report_time(self, message: Any, domain: str | None, now: float) -> int | Forged:
        return round(now * 1_000_000)


def no_tokens(topic: str, values: Sequence[bytes]) -> list[bytes]:
    """In the place of signatures, which nobody checks here."""
    return [b"token"] * len(values)


class Simulation:
    """A router with one partition; every event it writes is checked against its contract."""

    def __init__(
        self,
        *,
        test_tools: bool = True,
        authentication: Authentication | None = None,
        require_signatures: bool = False,
        policy: str = OPEN_POLICY,
        procedures: Library | None = None,
        traces: Sampling | None = None,
    ) -> None:
        expressions.evaluate_by(_WORKER)
        self.authentication = authentication or EverybodySigns(self)
        self.require_signatures = require_signatures
        self.traces = traces
        #: Read by every partition, as all routers read the topic.
        self.procedures = procedures or Library(lambda value, token, now: None)
        self.tools = registry.load(test_tools=test_tools)
        self.policy: Policy = parse(policy, self.tools)
        self.now = START
        self.out = Captured()
        self.hosted = self._fresh()
        self.hosted.restored(self.now)
        #: Records of the lock topics that nobody has read; read at once unless `slow_locks`.
        self.lock_records: list[tuple[Topic, bytes, bytes]] = []
        self.slow_locks = False
        self.events: list[dict[str, Any]] = []
        self.log: list[Event] = []
        self.commands: list[dict[str, Any]] = []
        self.stops: list[dict[str, Any]] = []
        #: What schedules are told.
        self.told: list[AnyScheduleCommand] = []
        self.dead: list[tuple[str, bytes | None, dict[str, bytes]]] = []
        self.changelog: dict[bytes, bytes] = {}
        self._random = 0

    def _fresh(self) -> Hosted:
        store = StateStore(86_400)
        router = RouterPartition(
            number=0,
            count=1,
            prefix="",
            writer=Writer("", "router", SignedOutput(no_tokens)),
            store=store,
            requests=RequestHandler(
                0,
                1,
                PlanCache(self.tools),
                store,
                self._bits,
                lambda: self.policy,
                self.require_signatures,
                of_key=self.authentication.of_key,
                procedures=self.procedures,
            ),
            authentication=self.authentication,
            traces=self.traces,
        )
        return Hosted(router, KeeperPartition(0))

    @property
    def partition(self) -> RouterPartition:
        """The router's part of what runs here."""
        return self.hosted.router

    def _bits(self) -> int:
        self._random += 1
        return self._random

    def restart(self) -> None:
        """Throw the partition away and restore it from the changelog."""
        self.hosted = self._fresh()
        for key, value in self.changelog.items():
            self.hosted.restore(key, value)
        self.hosted.restored(self.now)

    def submit(self, request: Any) -> list[dict[str, Any]]:
        """Produce a request; returns the new events."""
        raw = request if isinstance(request, bytes) else orjson.dumps(request)
        return self.produce(topics.REQUESTS, raw)

    def control(self, kind: str, execution_id: str, **fields: Any) -> list[dict[str, Any]]:
        """Produce a control command; returns the new events.

        An approval names the hash of the plan that waits, unless `plan_hash` is given.
        """
        if kind == "approve" and "plan_hash" not in fields:
            waiting = self.partition.store.living.get(execution_id)
            fields["plan_hash"] = waiting.plan_hash if waiting else "0" * 64
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
        """Let time pass, timer by timer; returns the new events but breaches of SLAs."""
        seen = len(self.events)
        end = round(self.now + seconds, 3)
        while True:
            due = self.hosted.next_deadline()
            if due is None or due > end:
                break
            self.now = max(self.now, round(due + 0.0005, 3))
            self.hosted.tick(self.now, self.out)
            self._settle()
        self.now = end
        return [event for event in self.events[seen:] if event["type"] != BREACHED]

    def take(self) -> dict[str, Any]:
        """The oldest command that nobody has taken."""
        return self.commands.pop(0)

    def produce(
        self,
        topic: Topic,
        raw: bytes,
        key: bytes | None = None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> list[dict[str, Any]]:
        """Produce a record to a source topic; returns the new events.

        Left out are decisions that allow what the other events tell (see `decisions`), and breaches
        of SLAs, which no other event depends on (see `breaches`).
        """
        seen = len(self.events)
        self.now = round(self.now + 0.001, 3)
        self._handle(topic, raw, key, headers)
        self._settle()
        return [event for event in self.events[seen:] if not _is_aside(event)]

    def _handle(
        self,
        topic: Topic,
        raw: bytes,
        key: bytes | None,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        record = Message(
            topic=topic.name,
            partition=0,
            offset=7,
            key=key,
            value=raw,
            headers=[*(headers or [])],
            timestamp=(1, 1_790_000_000_000),
        )
        for part in parts_of([record], lambda one: report_lines.split(raw or b"", headers or [])):
            self.hosted.handle(part, self.now, self.out)

    def _settle(self) -> None:
        """Write what was decided and, unless locks are slow, read what it says about locks."""
        self._collect()
        while self.lock_records and not self.slow_locks:
            self.read_locks()

    def read_locks(self, position: int = 0, *, again: bool = False) -> list[dict[str, Any]]:
        """Read one record of the lock topics, and where `again` leave it to be read once more."""
        seen = len(self.events)
        topic, key, raw = self.lock_records[position]
        if not again:
            del self.lock_records[position]
        self.now = round(self.now + 0.001, 3)
        self._handle(topic, raw, key)
        self._collect()
        return [event for event in self.events[seen:] if not _is_aside(event)]

    def decisions(self, execution_id: str) -> list[dict[str, Any]]:
        """The data of every decision about authority in the log of an execution."""
        return [
            event["data"]
            for event in self.events
            if event["type"] == "audit.decision" and event["execution_id"] == execution_id
        ]

    def breaches(self, execution_id: str) -> list[dict[str, Any]]:
        """Every breach of its SLA in the log of an execution."""
        of_it = [event for event in self.events if event["execution_id"] == execution_id]
        return [event for event in of_it if event["type"] == BREACHED]

    def _collect(self) -> None:
        self.hosted.flush(self.out)
        for name, key, value, headers in self.out.records:
            if name == topics.EVENTS.name:
                assert value is not None
                event = decode_event(value)
                assert decode_event(encode_event(event)) == event
                assert len(value) <= MAX_RECORD_BYTES
                self.log.append(event)
                self.events.append(orjson.loads(value))
            elif name in (topics.LOCK_COMMANDS.name, topics.LOCK_GRANTS.name):
                assert key is not None
                assert value is not None
                adapter = LOCK_COMMAND if name == topics.LOCK_COMMANDS.name else LOCK_ANSWER
                adapter.validate_json(value)
                self.lock_records.append((topics.TOPICS[name], key, value))
            elif name in (topics.ROUTER_STATE.name, topics.LOCKS_STATE.name):
                assert key is not None
                assert len(value or b"") <= MAX_RECORD_BYTES
                if value is None:
                    self.changelog.pop(key, None)
                else:
                    self.changelog[key] = value
            elif name == topics.SCHEDULE_COMMANDS.name:
                told = SCHEDULE_COMMAND.validate_json(value or b"")
                assert key == f"{told.tenant}/{told.name}".encode()
                self.told.append(told)
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


def _is_aside(event: dict[str, Any]) -> bool:
    if event["type"] == BREACHED:
        return True
    return event["type"] == "audit.decision" and bool(event["data"]["allowed"])
