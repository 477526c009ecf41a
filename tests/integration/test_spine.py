"""The whole path with real parts, as its users meet it."""

from __future__ import annotations

import os
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from streams import ids, topics
from streams.topics import Topic
from tests.brokers import client_options
from tests.conftest import LIMITED
from tests.harness import PATIENCE_SECONDS, Harness


def _await(harness: Harness, execution_id: str, kind: str) -> dict[str, Any]:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        for event in harness.log.events[execution_id]:
            if event["type"] == kind:
                return event
        assert time.monotonic() < deadline, [e["type"] for e in harness.log.events[execution_id]]
        harness.read()


def _id_of(harness: Harness, name: str) -> str:
    """The execution whose plan has this name."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        for execution_id, events in harness.log.events.items():
            if events[0]["data"].get("name") == name:
                return execution_id
        assert time.monotonic() < deadline, f"{name} was not accepted"
        harness.read()


def test_a_foreign_producer_gets_it_all(harness: Harness) -> None:
    """Plain confluent-kafka, null key, the bare form: completed, rows, a snapshot at 100 %."""
    name = uuid.uuid4().hex
    plan = {
        "name": name,
        "steps": [
            {"tool": "df", "parameters": {"path": "/"}},
            {"tool": "noop", "inputs": {"value": "{{ steps.step_1.output.use_percent }}"}},
        ],
    }
    producer = Producer(client_options(harness.stack.bootstrap_servers))
    producer.produce("execution.requests", orjson.dumps(plan))
    assert producer.flush(10) == 0
    execution_id = _id_of(harness, name)
    _await(harness, execution_id, "execution.completed")
    harness.check_log([execution_id])
    harness.check_rows([execution_id])
    harness.check_progress([execution_id])
    results = {
        event["step"]: event["data"]["output"]
        for event in harness.log.events[execution_id]
        if event["type"] == "step.succeeded"
    }
    assert isinstance(results["step_1"]["use_percent"], int)
    assert results["step_2"]["value"] == results["step_1"]["use_percent"]


def test_a_thousand_times_the_same_key_runs_once(harness: Harness) -> None:
    key = uuid.uuid4().hex
    value = orjson.dumps({"idempotency_key": key, "plan": {"steps": [{"tool": "noop"}]}})

    def produce(count: int) -> None:
        producer = Producer(client_options(harness.stack.bootstrap_servers))
        for _ in range(count):
            producer.produce("execution.requests", value, key=uuid.uuid4().bytes)
        assert producer.flush(30) == 0

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(produce, [250] * 4))
    execution_id = harness.wait_ended({key})[key]
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        events = harness.log.events[execution_id]
        duplicates = sum(event["type"] == "execution.duplicate" for event in events)
        if duplicates >= 999:
            break
        assert time.monotonic() < deadline, duplicates
        harness.read()
    assert duplicates == 999
    assert sum(event["type"] == "execution.accepted" for event in events) == 1
    assert list(harness.ids_of({key}).values()) == [execution_id]
    harness.check_log([execution_id])
    assert harness.check_ledger([execution_id]) == 1
    harness.check_rows([execution_id])


def test_a_tenant_over_its_quota_is_refused_until_an_execution_has_ended(
    harness: Harness, open_folder: Path
) -> None:
    """One of its partition's share is active; a key of another partition has a share of its own."""
    first, second, elsewhere = _key_of(LIMITED, 0), _key_of(LIMITED, 0), _key_of(LIMITED, 1)
    go = open_folder / "go"
    waits = {"argv": ["sh", "-c", f"until test -e {go}; do sleep 0.05; done"]}

    def request(key: str, step: dict[str, Any]) -> None:
        plan = {"name": key, "steps": [step]}
        harness.produce(orjson.dumps({"idempotency_key": key, "tenant": LIMITED, "plan": plan}))
        harness.flush()

    request(first, {"tool": "argv", "parameters": waits})
    _await(harness, _id_of(harness, first), "step.started")
    request(second, {"tool": "noop"})
    refused = _await(harness, _id_of(harness, second), "execution.rejected")["data"]
    assert refused["reason"] == "quota"
    assert refused["problems"][0]["field"] == "active_executions"
    assert "share of the quota active_executions (1) is 1" in refused["message"]
    request(elsewhere, {"tool": "noop"})
    harness.wait_ended({elsewhere})
    go.touch()
    harness.wait_ended({first})
    request(second, {"tool": "noop"})
    ended = harness.wait_ended({first, second, elsewhere}).values()
    harness.check_log(ended)
    assert {harness.log.ends(one)[0] for one in ended} == {"execution.completed"}


def _key_of(tenant: str, partition: int) -> str:
    """An idempotency key whose requests this partition of the router decides."""
    while True:
        key = uuid.uuid4().hex
        route = ids.route_key(tenant, key).encode()
        if ids.partition_for(route, topics.REQUESTS.partitions) == partition:
            return key


def _descends(pid: int, mark: str) -> bool:
    try:
        environment = Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False
    return mark.encode() in environment


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are looked up in /proc")
def test_cancel_leaves_no_process_and_says_so(harness: Harness) -> None:
    seconds = f"6{os.getpid() % 100_000:05d}"
    name = uuid.uuid4().hex
    command = ["sh", "-c", f"sleep {seconds} & sleep {seconds}"]
    plan = {
        "name": name,
        "steps": [{"tool": "argv", "parameters": {"argv": command}, "timeout_seconds": 300}],
    }
    harness.produce(orjson.dumps(plan))
    execution_id = _id_of(harness, name)
    _await(harness, execution_id, "step.started")
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(_sleepers(seconds)) < 2:
        assert time.monotonic() < deadline, "the command did not start"
        time.sleep(0.05)
    cancel = {"type": "cancel", "execution_id": execution_id, "actor": "test", "reason": "enough"}
    route = ids.route_of(execution_id).encode()
    harness.produce(orjson.dumps(cancel), route, topic="execution.control")
    harness.flush()
    _await(harness, execution_id, "execution.cancelled")
    assert _sleepers(seconds) == []
    evidence = _await(harness, execution_id, "step.cancelled")["data"]
    assert evidence["confirmed"] is True
    assert len(evidence["evidence"]["pids_ended"]) >= 2, evidence
    harness.check_log([execution_id])


def _sleepers(seconds: str) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and _descends(int(entry.name), seconds):
            found.append(int(entry.name))
    return found


POISON = [b"\xff\xfe\x00\x01", b"", b"{", b"[1]", b"\x1f\x8b\x08", "{}".encode("utf-16")]


@pytest.mark.parametrize(
    "topic",
    [topics.REQUESTS, topics.CONTROL, topics.REPORTS, topics.STEPS["test", "bulk"],
     topics.STEPS["automation", "immediate"], topics.EVENTS, topics.OUTPUT],
    ids=lambda topic: topic.name,
)  # fmt: skip
def test_poison_becomes_a_dead_letter_and_good_ones_go_on(harness: Harness, topic: Topic) -> None:
    for value in POISON:
        # A compacted topic takes no record without a key.
        harness.produce(value, key=uuid.uuid4().bytes, topic=topic.name)
    harness.flush()
    letters = harness.dead_letters(topic, len(POISON))
    assert sorted(value or b"" for value, _ in letters) == sorted(POISON)
    for _, headers in letters:
        assert headers["runstream-error-topic"] == topic.name
        assert headers["runstream-error-class"]
        assert headers["runstream-error-message"]
    keys = harness.submit(3, [{"tool": "noop"}, {"tool": "hostname"}] + [{"tool": "noop"}] * 4)
    ids = harness.wait_ended(keys)
    harness.check_log(ids.values())
    harness.check_rows(ids.values())
