"""The part of the router that decides about triggers: who may say what, and what is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from confluent_kafka import Message

from authority.identity import Forged, Signer
from authority.policy import Policy
from authority.policy_file import built_in
from processors.triggers.partition import TriggersPartition
from runtime.kafka.hosted import Fault
from streams.ids import partition_for, route_of
from streams.topics import REQUESTS, ROUTER_PARTITIONS, TRIGGERS_STATE, Topic
from toolmeta import registry

NOW = 1_790_000_000.0
HOME = partition_for(b"default/t", ROUTER_PARTITIONS)


class Record(Message):
    """A record as the loop hands it over."""

    def __init__(self, value: Any, offset: int) -> None:
        self._value = value if isinstance(value, bytes | None) else orjson.dumps(value)
        self._offset = offset

    def value(self) -> bytes | None:  # type: ignore[override]
        return self._value

    def offset(self) -> int:
        return self._offset


@dataclass
class Trusting:
    """Who signs is set by the test; the policy is the built-in one."""

    signed: Signer | Forged | None = None
    is_matcher: bool = True
    require_signatures: bool = False
    remembered: float = 3_600.0

    def policy(self) -> Policy:
        return built_in(registry.load())

    def signer(self, message: Message, now: float) -> Signer | Forged | None:
        return self.signed

    def refuse_match(self, message: Message, now: float) -> str | None:
        return None if self.is_matcher else "it is not signed"


@dataclass
class Lab:
    authority: Trusting = field(default_factory=Trusting)
    sent: list[tuple[Topic, bytes, dict[str, Any], int]] = field(default_factory=list)
    changelog: dict[bytes, bytes | None] = field(default_factory=dict)
    offset: int = 0

    def __post_init__(self) -> None:
        self.part = self.restarted()

    def restarted(self) -> TriggersPartition:
        def send(topic: Topic, key: bytes, value: bytes, headers: Any, partition: int = -1) -> None:
            self.sent.append((topic, key, orjson.loads(value), partition))

        self.part = TriggersPartition(HOME, "", self.authority, send)
        for key, value in self.changelog.items():
            self.part.restore(key, value)
        self.part.restored(NOW)
        return self.part

    def send(self, topic: Topic, key: bytes, value: bytes | None, *_: Any) -> None:
        assert topic is TRIGGERS_STATE
        self.changelog[key] = value

    def send_named(self, *_: Any) -> None:
        raise AssertionError

    def say(self, kind: str, after: float = 0.0, **fields: Any) -> Fault | None:
        told = {"type": kind, "tenant": "default", "name": "t", "actor": "ops", **fields}
        return self.raw(orjson.dumps(told), after)

    def raw(self, value: bytes | None, at: float = 0.0) -> Fault | None:
        self.offset += 1
        fault = self.part.handle(Record(value, self.offset), NOW + at, self)  # type: ignore[arg-type]
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


def test_what_cannot_be_followed_is_one_sentence(lab: Lab) -> None:
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
