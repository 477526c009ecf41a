"""The part of the router that decides about triggers: who may say what, and what is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from confluent_kafka import Message

from authority.identity import Forged, Signer
from authority.keys import KeyUse, PrivateKey, TrustedKey
from authority.policy_file import built_in
from authority.verifier import Proof, Window
from processors.command_authority import CommandAuthority
from processors.triggers.partition import TriggersPartition
from runtime.kafka.hosted import Fault
from streams.envelope import FORWARDED, Headers
from streams.ids import partition_for, route_of
from streams.topics import REQUESTS, ROUTER_PARTITIONS, TRIGGER_COMMANDS, TRIGGERS_STATE, Topic
from toolmeta import registry

NOW = 1_790_000_000.0
HOME = partition_for(b"default/t", ROUTER_PARTITIONS)


MATCHER = PrivateKey.generate(KeyUse(role="matcher"))


class Record(Message):
    """A record as the loop hands it over, with the key that its value needs."""

    def __init__(self, value: Any, number: int, headers: Headers) -> None:
        self._value = value if isinstance(value, bytes | None) else orjson.dumps(value)
        self._headers = [("ce_id", f"c{number}".encode()), *headers]

    def value(self) -> bytes | None:
        return self._value

    def key(self) -> bytes:
        told = orjson.loads(self._value or b"{}")
        return f"{told.get('tenant')}/{told.get('name')}".encode()

    def headers(self) -> Any:
        return self._headers


def proof(signer: Signer) -> Proof:
    """What a verifier finds where the key of this actor has signed."""
    use = KeyUse(role="actor", tenant=signer.tenant, actor=signer.actor)
    return Proof(TrustedKey(signer.kid, use, MATCHER.trusted.public), signer.signed_at)


@dataclass
class Trusting:
    """Who signs is set by the test; signatures of matchers are those that count at any time."""

    signed: Signer | Proof | Forged | None = None
    is_matcher: bool = True

    def check(
        self,
        value: bytes | None,
        token: str | None,
        topic: str,
        now: float,
        window: Window | None = None,
    ) -> Proof | Forged | None:
        assert topic == TRIGGER_COMMANDS.name
        if window is None:
            return Proof(MATCHER.trusted, 1) if self.is_matcher else None
        return proof(self.signed) if isinstance(self.signed, Signer) else self.signed


@dataclass
class Lab:
    authority: Trusting = field(default_factory=Trusting)
    sent: list[tuple[Topic, bytes, dict[str, Any], int]] = field(default_factory=list)
    changelog: dict[bytes, bytes | None] = field(default_factory=dict)
    number: int = 0
    #: Of every record, besides its id.
    headers: Headers = field(default_factory=list)
    forwarded: list[tuple[bytes, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.part = self.restarted()

    def restarted(self) -> TriggersPartition:
        def send(topic: Topic, key: bytes, value: bytes, headers: Any, partition: int = -1) -> None:
            self.sent.append((topic, key, orjson.loads(value), partition))

        rights = CommandAuthority(
            self.authority,
            Window(3_500.0, 100.0),
            lambda: built_in(registry.load()),
            of_key=lambda kid, at, _: ops(at) if kid == "kid" else Forged(f"{kid} is not known"),
        )
        self.part = TriggersPartition(HOME, "", rights, send)
        for key, value in self.changelog.items():
            self.part.restore(key, value)
        self.part.restored(NOW)
        return self.part

    def send(
        self,
        topic: Topic,
        key: bytes,
        value: bytes | None,
        headers: Any = None,
        partition: int = -1,
    ) -> None:
        if topic is TRIGGER_COMMANDS:
            assert (FORWARDED, b"1") in headers
            self.forwarded.append((key, partition))
            return
        assert topic is TRIGGERS_STATE
        self.changelog[key] = value

    def send_named(self, *_: Any) -> None:
        raise AssertionError

    def say(self, kind: str, after: float = 0.0, **fields: Any) -> Fault | None:
        told = {"type": kind, "tenant": "default", "name": "t", "actor": "ops", **fields}
        return self.raw(orjson.dumps(told), after)

    def raw(self, value: bytes | None, at: float = 0.0) -> Fault | None:
        self.number += 1
        record = Record(value, self.number, self.headers)
        fault = self.part.handle(record, NOW + at, self)
        self.part.flush(self)
        return fault

    def apply(self, at: float = 0.0, **fields: Any) -> Fault | None:
        trigger = {"name": "t", "topic": "alerts", "procedure": "p", **fields}
        return self.say("apply", at, trigger=trigger)

    def match(self, offset: int, **fields: Any) -> Fault | None:
        state = self.part.triggers.get("default/t")
        digest = state.definition if state is not None and state.trigger is not None else "gone"
        told = {"definition": digest, "topic": "alerts", "partition": 0, "offset": offset,
                "at": "2026-09-21T14:13:20Z", "inputs": {"path": "/"}}  # fmt: skip
        return self.say("matched", **{**told, **fields})


def ops(at: int) -> Signer:
    return Signer("kid", "default", "ops", at)


@pytest.fixture
def lab() -> Lab:
    return Lab(Trusting(ops(1)))


def test_a_match_becomes_a_request_with_the_rights_of_whoever_applied(lab: Lab) -> None:
    assert lab.apply(version="7") is None
    assert lab.match(4) is None
    ((topic, key, request, partition),) = lab.sent
    assert topic is REQUESTS
    assert key == route_of(request["execution_id"]).encode()
    assert partition == partition_for(key, ROUTER_PARTITIONS)
    assert request["started_by"] == {
        "kind": "trigger", "name": "t", "cause": "alerts/0/4", "key": "kid",
    }  # fmt: skip
    told = {name: request[name] for name in ("procedure", "version", "inputs", "actor", "tenant")}
    assert told == {"procedure": "p", "version": "7", "inputs": {"path": "/"}, "actor": "ops",
                    "tenant": "default"}  # fmt: skip
    # After a restart it is known, and starts nothing again.
    lab.restarted()
    assert lab.match(4) is None
    assert len(lab.sent) == 1
    assert lab.match(5) is None
    assert len(lab.sent) == 2


def test_nobody_but_a_matcher_says_matches(lab: Lab) -> None:
    lab.apply()
    lab.authority.is_matcher = False
    fault = lab.match(4)
    assert fault == Fault("not_authentic", "it is not signed")
    assert lab.sent == []


def test_nobody_without_a_key_says_what_triggers_do(lab: Lab) -> None:
    lab.authority.signed = None
    fault = lab.apply()
    assert fault is not None
    assert fault.error_class == "forbidden"
    lab.authority.signed = Forged("the signature is for another value")
    fault = lab.apply()
    assert fault is not None
    assert fault.error_class == "not_authentic"
    lab.authority.signed = Signer("kid", "other", "ops", 1)
    fault = lab.apply()
    assert fault is not None
    assert fault.error_class == "not_authentic"
    assert lab.part.triggers == {}


def test_a_copy_of_a_command_has_no_effect_also_after_a_removal(lab: Lab) -> None:
    assert lab.apply() is None
    lab.authority.signed = ops(2)
    assert lab.say("remove") is None
    for _ in range(2):
        lab.authority.signed = ops(1)
        fault = lab.apply()
        assert fault is not None
        assert "signed at this time or later" in fault.message
        lab.restarted()
    # Once no signature of then counts any more, it is forgotten.
    moment = lab.part.next_deadline()
    assert moment is not None
    lab.part.tick(NOW + 5_000, lab)
    lab.part.flush(lab)
    assert lab.part.triggers == {}
    assert list(lab.changelog.values()) == [None]


def test_a_record_of_another_partitioner_is_sent_on_once(lab: Lab) -> None:
    assert lab.say("pause", name="elsewhere-3") is None
    key = b"default/elsewhere-3"
    assert lab.forwarded == [(key, partition_for(key, ROUTER_PARTITIONS))]
    lab.headers = [(FORWARDED, b"1")]
    fault = lab.say("pause", name="elsewhere-3")
    assert fault is not None
    assert fault.error_class == "misrouted"
    assert len(lab.forwarded) == 1


def test_marks_of_keys_are_forgotten_when_no_copy_counts(lab: Lab) -> None:
    for number in range(3):
        lab.authority.signed = Signer(f"kid-{number}", "default", "ops", int(NOW + number) * 10**6)
        assert lab.apply(float(number)) is None
    assert len(lab.part.triggers["default/t"].signed) == 3
    lab.authority.signed = Signer("late", "default", "ops", int(NOW + 3_502) * 10**6)
    assert lab.apply(3_502.0) is None
    assert set(lab.part.triggers["default/t"].signed) == {"kid-2", "late"}


def test_what_cannot_be_followed_is_one_sentence(lab: Lab) -> None:
    lab.headers = [(FORWARDED, b"1")]
    own = {"name": "t", "topic": "execution.requests", "procedure": "p"}
    found = [
        lab.raw(None), lab.raw(b"\xff"), lab.raw(b"{}"), lab.raw(b'{"type": "x"}'),
        lab.raw(b" " * 1_000_001), lab.say("pause"), lab.say("apply", trigger=own),
        lab.apply(name="other"), lab.apply(tpoic="x"), lab.say("remove", name="elsewhere-3"),
        lab.apply(description="x" * 501), lab.apply(inputs={"x": "y" * 70_000}),
    ]  # fmt: skip
    classes = [None if fault is None else fault.error_class for fault in found]
    assert classes == [
        "empty", "invalid", "invalid", "invalid", "too_large", "unknown_trigger", "invalid",
        "invalid", "invalid", "misrouted", "invalid", "too_large",
    ]  # fmt: skip
    assert all(fault is not None and 0 < len(fault.message) < 300 for fault in found)
    assert lab.match(1) is None
    assert lab.sent == []


def test_pause_and_resume_hold_over_a_restart(lab: Lab) -> None:
    lab.apply()
    lab.authority.signed = ops(2)
    assert lab.say("pause", reason="night") is None
    lab.restarted()
    lab.match(3)
    lab.authority.signed = ops(3)
    assert lab.say("resume", 60.0) is None
    lab.match(4)
    assert [one[2]["started_by"]["cause"] for one in lab.sent] == ["alerts/0/4"]


def test_the_api_commands_on_behalf_of_a_person_and_of_nobody_else(lab: Lab) -> None:
    assert lab.apply() is None
    lab.authority.signed = Proof(PrivateKey.generate(KeyUse(role="api")).trusted, 2)
    of_ops: dict[str, Any] = {"on_behalf_of": {"key": "kid"}}
    for said in (
        dict[str, Any](),
        {"on_behalf_of": {"key": "unknown"}},
        {"actor": "eve", **of_ops},
    ):
        fault = lab.say("pause", **said)
        assert fault is not None and fault.error_class == "not_authentic"
    assert lab.say("pause", **of_ops) is None
    # Nobody else may say so, a router neither.
    for signed in (ops(3), Proof(PrivateKey.generate(KeyUse(role="router")).trusted, 3)):
        lab.authority.signed = signed
        fault = lab.say("resume", **of_ops)
        assert fault is not None and "only the API" in fault.message
    lab.restarted()
    assert lab.part.triggers["default/t"].paused
