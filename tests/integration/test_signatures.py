"""Forged and replayed records on a real broker: none has an effect, and each is written down."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from authority.key_files import changing_trusted, read_private
from authority.keys import KeyUse, PrivateKey
from streams import ids
from streams.envelope import SIGNATURE
from streams.topics import CONTROL, DEAD_LETTERS, REPORTS, REQUESTS, STEPS, Topic
from tests.brokers import client_options
from tests.forging import FORMS, NOTE, Genuine
from tests.integration.router_lab import EXECUTOR, RouterLab, router_lab
from tests.integration.test_router_group import USED

BULK, IMMEDIATE = STEPS["test", "bulk"], STEPS["test", "immediate"]
SLEEP = {"id": "one", "tool": "sleep", "parameters": {"seconds": 300}}
QUICK = {"id": "one", "tool": "noop"}


class SignedLab:
    """A router that takes signed records only, an executor, and whoever writes to their topics."""

    def __init__(self, lab: RouterLab) -> None:
        self.lab = lab
        self.cluster = lab.keys.cluster(REQUESTS)
        self.ops = self.key("operator")
        self._producer = Producer(
            {**client_options(lab.stack.bootstrap_servers), "partitioner": "murmur2_random"}
        )

    def key(self, name: str) -> PrivateKey:
        return read_private(self.lab.keys.folder.private(name))

    def trust(self, use: KeyUse) -> PrivateKey:
        """Another key that the processes trust."""
        key = PrivateKey.generate(use)
        with changing_trusted(self.lab.keys.folder.trusted) as trusted:
            trusted[key.kid] = key.trusted
        return key

    def genuine(self, key: PrivateKey, topic: Topic, value: bytes) -> Genuine:
        return Genuine(key, self.cluster, topic.name, value, time.time())

    def write(
        self, topic: Topic, key: bytes, value: bytes, token: str | None, partition: int = -1
    ) -> None:
        """Write a record as anybody may who can reach the topic."""
        headers: Any = [] if token is None else [(SIGNATURE, token.encode())]
        name = self.lab.prefix + topic.name
        self._producer.produce(name, value, key=key, headers=headers, partition=partition)
        assert self._producer.flush(30) == 0

    def request(self, *steps: dict[str, Any], **changed: Any) -> tuple[str, bytes]:
        """A request of the operator: its idempotency key and its value."""
        key = uuid.uuid4().hex
        around = {"idempotency_key": key, "tenant": "default", "actor": "ops", **NOTE, **changed}
        return key, orjson.dumps({**around, "plan": {"steps": list(steps)}})

    def submit(self, *steps: dict[str, Any]) -> str:
        """Submit a signed plan; returns its execution id once it is accepted."""
        key, value = self.request(*steps)
        self.write(REQUESTS, b"", value, self.genuine(self.ops, REQUESTS, value).token())
        self.lab.until(lambda: key in self.lab.ids_of({key}), "accepted")
        return self.lab.ids_of({key})[key]

    def running(self) -> str:
        """An execution whose only step runs for long."""
        execution_id = self.submit(SLEEP)
        self.until(execution_id, "step.started")
        return execution_id

    def of(self, execution_id: str, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.lab.log.events[execution_id] if one["type"] == kind]

    def until(self, execution_id: str, kind: str, count: int = 1) -> dict[str, Any]:
        """The last event of this type, once there are so many."""
        self.lab.until(lambda: len(self.of(execution_id, kind)) >= count, kind)
        return self.of(execution_id, kind)[-1]

    def refusal(self, execution_id: str, count: int = 1) -> dict[str, Any]:
        """The audit event of the refused record of that number."""
        data: dict[str, Any] = self.until(execution_id, "audit.decision", count)["data"]
        assert (data["allowed"], data["rule"], data["actor"]) == (False, "signature", "anonymous")
        return data

    def control(self, kind: str, execution_id: str, **fields: Any) -> bytes:
        return orjson.dumps(
            {"type": kind, "execution_id": execution_id, "actor": "ops", **NOTE, **fields}
        )

    def do(self, kind: str, execution_id: str) -> tuple[bytes, str]:
        """Send a signed control message; returns it with its signature."""
        value = self.control(kind, execution_id)
        token = self.genuine(self.ops, CONTROL, value).token()
        self.write(CONTROL, ids.route_of(execution_id).encode(), value, token)
        return value, token

    def read(self, topic: Topic, wanted: Callable[[Message], bool]) -> Message:
        """The first record of a topic that is wanted."""
        consumer = Consumer(
            {
                **client_options(self.lab.stack.bootstrap_servers),
                "group.id": uuid.uuid4().hex,
                "isolation.level": "read_committed",
            }
        )
        name = self.lab.prefix + topic.name
        consumer.assign(
            [TopicPartition(name, n, OFFSET_BEGINNING) for n in range(topic.partitions)]
        )
        deadline = time.monotonic() + 60
        try:
            while time.monotonic() < deadline:
                for message in consumer.consume(500, 0.2):
                    if message.error() is None and wanted(message):
                        return message
        finally:
            consumer.close()
        raise AssertionError(f"no such record on {name}: {self.lab.tails()}")

    def dead(self, topic: Topic, value: bytes) -> str:
        """The class of the dead letter of this value."""
        letter = self.read(DEAD_LETTERS[topic.name], lambda one: one.value() == value)
        found: Any = dict(letter.headers() or [])["runstream-error-class"]
        return str(found.decode())

    def still_runs(self, execution_id: str) -> None:
        """The execution can still be cancelled as it should be: nothing has happened to it."""
        assert not self.lab.log.ends(execution_id)
        self.do("cancel", execution_id)
        self.until(execution_id, "execution.cancelled")
        assert len(self.of(execution_id, "execution.cancel_requested")) == 1

    def effects(self, execution_id: str) -> list[str]:
        """The steps of this execution that had their effect."""
        lines = [line.split() for line in self.lab.ledger.read_text().splitlines()]
        return [line[1] for line in lines if line[0] == execution_id]


@pytest.fixture(scope="module")
def signed(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[SignedLab]:
    prefix = f"s{uuid.uuid4().hex[:10]}."
    admin = AdminClient(client_options(kafka))
    new = [
        NewTopic(prefix + topic.name, topic.partitions, 1, config=topic.config()) for topic in USED
    ]
    for future in admin.create_topics(new, operation_timeout=60).values():
        future.result(90)
    try:
        with router_lab(kafka, prefix, Path(tmp_path_factory.mktemp("signed"))) as lab:
            lab.start("router", require_signatures=True)
            lab.start("executor", EXECUTOR, concurrency=64)
            yield SignedLab(lab)
    finally:
        for future in admin.delete_topics([topic.topic for topic in new]).values():
            future.result(60)


def too_old(one: Genuine) -> tuple[bytes, str | None]:
    return one.value, one.token(now=one.now - 25 * 3_600)


@pytest.mark.parametrize("form", [*FORMS, "too old", "another tenant", "a key of another role"])
@pytest.mark.parametrize("record", ["request", "control", "command", "report"])
def test_a_forged_record_has_no_effect(signed: SignedLab, record: str, form: str) -> None:
    if record in ("command", "report") and form in ("too old", "another tenant"):
        return  # They count for as long as their attempt, and name no tenant of a key.
    forge: Callable[[Genuine], tuple[bytes, str | None]]
    forge = too_old if form == "too old" else FORMS.get(form, lambda one: (one.value, one.token()))

    def forged(role: str, topic: Topic, value: bytes) -> tuple[bytes, str | None]:
        key = signed.key(role)
        if form == "another tenant":
            key = signed.trust(KeyUse(role="actor", tenant="other", actor="ops"))
        elif form == "a key of another role":
            key = signed.key("operator" if role != "operator" else "router")
        return forge(signed.genuine(key, topic, value))

    if record == "request":
        key, value = signed.request(QUICK)
        changed, token = forged("operator", REQUESTS, value)
        signed.write(REQUESTS, b"", changed, token)
        signed.lab.until(lambda: bool(_rejections(signed, key)), "rejected")
        (rejection,) = _rejections(signed, key)
        assert rejection["data"]["reason"] == "not_authentic"
        assert not signed.lab.ids_of({key})
        return

    execution_id = signed.running()
    route = ids.route_of(execution_id).encode()
    if record == "control":
        value = signed.control("cancel", execution_id)
        changed, token = forged("operator", CONTROL, value)
        signed.write(CONTROL, route, changed, token)
        assert signed.refusal(execution_id)["action"] == "cancel"
    elif record == "command":
        value = _command(signed, execution_id)
        topic = _topic(signed, execution_id)
        changed, token = forged("router", topic, value)
        signed.write(topic, execution_id.encode(), changed, token)
        assert signed.refusal(execution_id)["action"] == "command"
        assert signed.dead(topic, changed) == "not_authentic"
        assert signed.effects(execution_id) == ["one"]
    else:
        report = {"type": "succeeded", "execution_id": execution_id, "step": "one", "attempt": 1,
                  "executor": "executor", "duration_seconds": 1.0, **NOTE}  # fmt: skip
        value = orjson.dumps(report)
        changed, token = forged("executor", REPORTS, value)
        signed.write(REPORTS, route, changed, token)
        assert signed.refusal(execution_id)["action"] == "report"
        assert signed.dead(REPORTS, changed) == "not_authentic"
    signed.still_runs(execution_id)


def _rejections(signed: SignedLab, key: str) -> list[dict[str, Any]]:
    return [
        events[0]
        for events in signed.lab.log.events.values()
        if events[0]["type"] == "execution.rejected"
        and events[0]["data"].get("idempotency_key") == key
    ]


def _command(signed: SignedLab, execution_id: str) -> bytes:
    """The genuine command of the running step, made into one of another step."""
    attempt = ids.attempt_id(execution_id, "one", 1).encode()

    def is_its(message: Message) -> bool:
        return dict(message.headers() or []).get("ce_id") == attempt

    genuine = signed.read(_topic(signed, execution_id), is_its)
    body = orjson.loads(genuine.value() or b"")
    return orjson.dumps({**body, "step": "forged", "tool": "noop", "parameters": {}, **NOTE})


def _topic(signed: SignedLab, execution_id: str) -> Topic:
    """Where the command of the running step is."""
    told = signed.of(execution_id, "step.dispatched")[0]["data"]["topic"]
    return IMMEDIATE if told == IMMEDIATE.name else BULK


def test_a_replayed_request_runs_nothing_again(signed: SignedLab) -> None:
    key, value = signed.request({"id": "one", "tool": "fail"})
    token = signed.genuine(signed.ops, REQUESTS, value).token()
    signed.write(REQUESTS, b"", value, token)
    (execution_id,) = signed.lab.wait_ended({key}).values()
    assert signed.lab.log.ends(execution_id) == ["execution.failed"]
    signed.write(REQUESTS, b"other", value, token)
    signed.lab.until(lambda: bool(_rejections(signed, key)), "rejected")
    (rejection,) = _rejections(signed, key)
    assert rejection["data"]["reason"] == "not_authentic"
    assert execution_id in rejection["data"]["message"]


def test_a_replayed_control_message_does_nothing(signed: SignedLab) -> None:
    execution_id = signed.running()
    value, token = signed.do("pause", execution_id)
    signed.until(execution_id, "execution.paused")
    signed.do("resume", execution_id)
    signed.until(execution_id, "execution.resumed")
    signed.write(CONTROL, ids.route_of(execution_id).encode(), value, token)
    assert "followed already" in signed.refusal(execution_id)["message"]
    # Nor does it work on another execution.
    other = signed.running()
    signed.write(CONTROL, ids.route_of(other).encode(), value, token)
    signed.still_runs(execution_id)
    signed.still_runs(other)


def test_a_copy_of_a_command_is_not_run_again(signed: SignedLab) -> None:
    execution_id = signed.running()
    attempt = ids.attempt_id(execution_id, "one", 1)
    topic = _topic(signed, execution_id)

    def is_it(message: Message) -> bool:
        return dict(message.headers() or []).get("ce_id") == attempt.encode()

    copy = signed.read(topic, is_it)
    token: Any = dict(copy.headers() or [])[SIGNATURE]
    here = copy.partition() or 0
    for partition in (here, (here + 1) % topic.partitions):
        signed.write(topic, copy.key() or b"", copy.value() or b"", token.decode(), partition)
    assert "a copy" in signed.refusal(execution_id)["message"]
    signed.still_runs(execution_id)
    assert signed.effects(execution_id) == ["one"]


def test_a_new_key_counts_at_once_and_a_revoked_one_no_longer(signed: SignedLab) -> None:
    key = signed.trust(KeyUse(role="actor", actor="eve"))
    execution_id = signed.running()
    value = signed.control("pause", execution_id, actor="eve")
    route = ids.route_of(execution_id).encode()
    signed.write(CONTROL, route, value, signed.genuine(key, CONTROL, value).token())
    signed.until(execution_id, "execution.paused")
    with changing_trusted(signed.lab.keys.folder.trusted) as trusted:
        del trusted[key.kid]
    time.sleep(2.5)  # As long as a process may take to notice.
    value = signed.control("resume", execution_id, actor="eve")
    signed.write(CONTROL, route, value, signed.genuine(key, CONTROL, value).token())
    assert "not trusted" in signed.refusal(execution_id)["message"]
    signed.still_runs(execution_id)


def test_a_process_without_its_keys_does_not_start(kafka: str, tmp_path: Path) -> None:
    with router_lab(kafka, "unused.", tmp_path) as lab:
        lab.start("router", signing_key="", trusted_keys="")
        lab.start("executor", EXECUTOR, signing_key=str(lab.keys.folder.private("router")))
        for name, said in (("router", "RUNSTREAM_SIGNING_KEY is not set"), ("executor", "role")):
            assert lab.processes[name].wait(60) == 2
            assert said in (tmp_path / f"{name}.log").read_text()
