"""A router and an executor that know their keys, and whoever else can write to their topics."""

from __future__ import annotations

import signal
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from authority.key_files import changing_trusted, read_private, write_private
from authority.keys import KeyUse, PrivateKey
from authority.policy_file import built_in_text
from streams import ids
from streams.envelope import SIGNATURE
from streams.topics import CONTROL, DEAD_LETTERS, REQUESTS, STEPS, Topic
from tests.brokers import client_options
from tests.forging import NOTE, Genuine
from tests.integration.router_lab import EXECUTOR, RouterLab, own_topics, router_lab
from tests.integration.test_router_group import USED

BULK, IMMEDIATE = STEPS["test", "bulk"], STEPS["test", "immediate"]
SLEEP = {"id": "one", "tool": "sleep", "parameters": {"seconds": 300}}
QUICK = {"id": "one", "tool": "noop"}
_LONG_AGO = datetime.now(UTC) - timedelta(days=1)
#: Keys that the processes trust besides their own and that of the operator, who is `ops`.
_TRUSTED = {
    "of another tenant": KeyUse(role="actor", tenant="other", actor="ops"),
    "of another actor": KeyUse(role="actor", actor="mallory"),
    "approver": KeyUse(role="actor", actor="ann"),
    "of another domain": KeyUse(role="executor", domains=("network",)),
    "expired operator": KeyUse(role="actor", actor="ops", expires=_LONG_AGO),
    "expired router": KeyUse(role="router", expires=_LONG_AGO),
    "expired executor": KeyUse(role="executor", domains=("test",), expires=_LONG_AGO),
}


class SignedLab:
    """One installation: its keys, its event log, and a producer that may write everything."""

    def __init__(self, lab: RouterLab, required: bool) -> None:
        """Start its processes; `required` is RUNSTREAM_REQUIRE_SIGNATURES."""
        self.lab = lab
        self.required = required
        self.cluster = lab.keys.cluster(REQUESTS)
        names = ("router", "executor", "operator")
        self.keys = {name: read_private(lab.keys.folder.private(name)) for name in names}
        self.keys |= {name: self.trust(use) for name, use in _TRUSTED.items()}
        self._producer = Producer(
            {**client_options(lab.stack.bootstrap_servers), "partitioner": "murmur2_random"}
        )
        # As it is by default: other tests let everybody do everything.
        self._policy = lab.folder / "policy.yaml"
        self._policy.write_text(built_in_text())
        self._secrets = lab.folder / "secrets.yaml"
        self._secrets.write_text("rules: [{id: no-root, effect: deny, secrets: [env/ROOT]}]")
        self._secrets.chmod(0o600)
        self._start("router")
        self._start("executor")

    def _start(self, name: str, **settings: Any) -> None:
        if name == "router":
            given = {"require_signatures": self.required, "policy": self._policy, **settings}
            self.lab.start(name, **given)
        else:
            given = {"concurrency": 64, "secrets_policy": self._secrets, **settings}
            self.lab.start(name, EXECUTOR, **given)

    def stop(self, name: str) -> None:
        """Stop the router or the executor as an operator does."""
        self.lab.signal(name, signal.SIGTERM)
        assert self.lab.processes[name].wait(60) == 0

    def start_with(self, name: str, key: PrivateKey) -> None:
        """Start it again, with another key."""
        file = self.lab.keys.folder.private(key.kid)
        write_private(file, key)
        self.keys[name] = key
        self._start(name, signing_key=file)

    # -- writing ---------------------------------------------------------------------------------

    def trust(self, use: KeyUse) -> PrivateKey:
        """Another key that the processes trust."""
        key = PrivateKey.generate(use)
        with changing_trusted(self.lab.keys.folder.trusted) as trusted:
            trusted[key.kid] = key.trusted
        return key

    def genuine(self, key: str, topic: Topic, value: bytes) -> Genuine:
        """A record, and the key of this name that signs it."""
        return Genuine(self.keys[key], self.cluster, topic.name, value, time.time())

    def write(
        self,
        topic: Topic,
        key: bytes,
        value: bytes,
        token: str | None,
        partition: int = -1,
        headers: list[tuple[str, bytes]] | None = None,
    ) -> None:
        """Write a record as anybody may who can reach the topic."""
        given: Any = list(headers or [])
        if token is not None:
            given.append((SIGNATURE, token.encode()))
        name = self.lab.prefix + topic.name
        self._producer.produce(name, value, key=key, headers=given, partition=partition)
        assert self._producer.flush(30) == 0

    def request(self, *steps: dict[str, Any], **changed: Any) -> tuple[str, bytes]:
        """A request of the operator: its idempotency key and its value."""
        key = uuid.uuid4().hex
        plan = {"steps": list(steps), **changed.pop("plan", {})}
        around = {"idempotency_key": key, "tenant": "default", "actor": "ops", **NOTE, **changed}
        return key, orjson.dumps({**around, "plan": plan})

    def submit(self, *steps: dict[str, Any], **plan: Any) -> str:
        """Submit a signed plan; returns its execution id once it is accepted."""
        key, value = self.request(*steps, plan=plan)
        self.write(REQUESTS, b"", value, self.genuine("operator", REQUESTS, value).token())
        return self.accepted(key)

    def accepted(self, key: str) -> str:
        """The execution of this idempotency key, once there is one."""
        self.lab.until(lambda: key in self.lab.ids_of({key}), f"{key} accepted")
        return self.lab.ids_of({key})[key]

    def running(self) -> str:
        """An execution whose only step runs for long."""
        execution_id = self.submit(SLEEP)
        self.until(execution_id, "step.started")
        return execution_id

    def all_accepted(self, key: str) -> list[str]:
        """The executions that were accepted with this idempotency key, so far."""
        return [
            ident
            for ident, events in self.lab.log.events.items()
            if events[0]["type"] == "execution.accepted"
            and events[0]["data"]["idempotency_key"] == key
        ]

    def control(self, kind: str, execution_id: str, **fields: Any) -> bytes:
        """A control message of the operator, not signed yet."""
        told = {"type": kind, "execution_id": execution_id, "actor": "ops", **NOTE, **fields}
        return orjson.dumps(told)

    def do(
        self, kind: str, execution_id: str, key: str = "operator", **fields: Any
    ) -> tuple[bytes, str]:
        """Send a signed control message; returns it with its signature."""
        value = self.control(kind, execution_id, **fields)
        token = self.genuine(key, CONTROL, value).token()
        self.write(CONTROL, ids.route_of(execution_id).encode(), value, token)
        return value, token

    # -- reading ---------------------------------------------------------------------------------

    def of(self, execution_id: str, kind: str) -> list[dict[str, Any]]:
        """The events of an execution of this type, so far."""
        return [one for one in self.lab.log.events[execution_id] if one["type"] == kind]

    def until(self, execution_id: str, kind: str, count: int = 1) -> dict[str, Any]:
        """The last event of this type, once there are so many."""
        self.lab.until(lambda: len(self.of(execution_id, kind)) >= count, f"{count} {kind}")
        return self.of(execution_id, kind)[-1]

    def refusals(self, execution_id: str, count: int = 1) -> list[dict[str, Any]]:
        """The audit events of records that were refused for their signature, once so many."""

        def found() -> list[dict[str, Any]]:
            audits = (one["data"] for one in self.of(execution_id, "audit.decision"))
            return [data for data in audits if data["rule"] == "signature"]

        self.lab.until(lambda: len(found()) >= count, f"{count} refusals of {execution_id}")
        for data in found():
            assert (data["allowed"], data["actor"]) == (False, "anonymous")
        return found()

    def decisions(self, execution_id: str, action: str, count: int = 1) -> dict[str, Any]:
        """The last decision about this action, once there are so many."""

        def found() -> list[dict[str, Any]]:
            audits = (one["data"] for one in self.of(execution_id, "audit.decision"))
            return [data for data in audits if data["action"] == action]

        self.lab.until(lambda: len(found()) >= count, f"{count} decisions about {action}")
        return found()[-1]

    def rejection(self, key: str) -> tuple[dict[str, Any], dict[str, Any]]:
        """The rejection of a request and the decision that it follows from, as their data."""

        def found() -> list[list[dict[str, Any]]]:
            return [
                events
                for events in self.lab.log.events.values()
                if events[0]["type"] == "execution.rejected"
                and events[0]["data"].get("idempotency_key") == key
            ]

        self.lab.until(lambda: [len(events) for events in found()] == [2], f"{key} rejected")
        ((rejected, audit),) = found()
        assert audit["type"] == "audit.decision"
        return rejected["data"], audit["data"]

    def read(
        self, topic: Topic, wanted: Callable[[Message], bool], count: int = 1
    ) -> list[Message]:
        """The first records of a topic that are wanted, once there are so many."""
        consumer = Consumer(
            {
                **client_options(self.lab.stack.bootstrap_servers),
                "group.id": uuid.uuid4().hex,
                "isolation.level": "read_committed",
            }
        )
        name = self.lab.prefix + topic.name
        parts = [TopicPartition(name, n, OFFSET_BEGINNING) for n in range(topic.partitions)]
        consumer.assign(parts)
        deadline = time.monotonic() + 60
        found: list[Message] = []
        try:
            while len(found) < count:
                assert time.monotonic() < deadline, f"{len(found)} on {name}: {self.lab.tails()}"
                for message in consumer.consume(500, 0.2):
                    if message.error() is None and wanted(message):
                        found.append(message)
        finally:
            consumer.close()
        return found

    def dead(self, topic: Topic, values: set[bytes]) -> dict[bytes, str]:
        """The classes of the dead letters of these values."""
        letters = DEAD_LETTERS[topic.name]
        found = self.read(letters, lambda one: one.value() in values, len(values))
        named: dict[bytes, str] = {}
        for letter in found:
            given: Any = dict(letter.headers() or [])
            named[letter.value() or b""] = given["runstream-error-class"].decode()
        return named

    def command(self, execution_id: str, step: str = "one") -> tuple[Topic, Message, str]:
        """The command of a running step as the router has written it, and its signature."""
        told = self.of(execution_id, "step.dispatched")[-1]["data"]["topic"]
        topic = IMMEDIATE if told == IMMEDIATE.name else BULK
        attempt = ids.attempt_id(execution_id, step, 1).encode()
        (found,) = self.read(topic, lambda one: dict(one.headers() or []).get("ce_id") == attempt)
        token: Any = dict(found.headers() or [])[SIGNATURE]
        return topic, found, token.decode()

    def still_runs(self, execution_id: str) -> None:
        """The execution can still be cancelled as it should be: nothing has happened to it."""
        assert not self.lab.log.ends(execution_id)
        assert not self.of(execution_id, "execution.cancel_requested")
        self.do("cancel", execution_id)
        self.until(execution_id, "execution.cancelled")
        assert len(self.of(execution_id, "execution.cancel_requested")) == 1

    def effects(self, execution_id: str) -> list[str]:
        """The steps of this execution that had their effect."""
        lines = [line.split() for line in self.lab.ledger.read_text().splitlines()]
        return [line[1] for line in lines if line[0] == execution_id]


def success(execution_id: str) -> bytes:
    """The report that step `one` succeeded."""
    told = {"type": "succeeded", "execution_id": execution_id, "step": "one", "attempt": 1}
    return orjson.dumps({**told, "executor": "executor", "duration_seconds": 1.0, **NOTE})


@contextmanager
def signed_lab(kafka: str, folder: Path, *, required: bool) -> Iterator[SignedLab]:
    """A lab on topics of its own, which leaves nothing behind."""
    with own_topics(kafka, USED) as prefix, router_lab(kafka, prefix, folder) as lab:
        yield SignedLab(lab, required)
