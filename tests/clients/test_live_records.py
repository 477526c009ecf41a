"""Records of every kind, as real processes write them, are valid for the published schemas."""

from __future__ import annotations

import json
import subprocess
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Consumer, TopicPartition

from devstack.stack import LocalStack
from streams.procedures import ProcedureRecord
from streams.schedules import ApplySchedule, Schedule
from streams.schemas import FILES
from streams.topics import PROCEDURES, SCHEDULE_COMMANDS, TOPICS, TRIGGER_COMMANDS, Topic
from streams.triggers import ApplyTrigger, Trigger
from tests import node_kit
from tests.brokers import client_options
from tests.harness import Harness
from tests.unit.router.lock_plans import change, submit
from tests.unit.router.simulation import Simulation

SCHEMAS = Path(__file__).parents[2] / "docs" / "reference" / "schemas"
#: It locks the host that it names.
_CREATE = {"tool": "asset_create", "parameters": {"hostname": "live-records", "environment": "dev"}}
#: The steps of a plan, and what else it says; together they make every kind of record.
PLANS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "output and progress": (
        [
            {"id": "list", "tool": "df", "parameters": {"path": "/"}},
            {"tool": "sleep", "parameters": {"seconds": 1.2}},
        ],
        {"name": "output"},
    ),
    "items, retry, a condition": (
        [
            {"tool": "noop", "for_each": [1, 2], "parameters": {"value": "{{ item }}"}},
            {
                "tool": "fail",
                "parameters": {"times": 1},
                "retry": {"max_attempts": 2, "backoff_seconds": 0.1},
            },
            {"tool": "noop", "when": "false"},
        ],
        {},
    ),
    "compensation": (
        [
            {"tool": "noop", "compensate": {"tool": "noop"}},
            {
                "tool": "fail",
                "parameters": {},
                "on_failure": "compensate",
                "retry": {"max_attempts": 1},
            },
        ],
        {},
    ),
    "a time limit": (
        [{"tool": "sleep", "parameters": {"seconds": 30}, "timeout_seconds": 1}],
        {"sla_class": "fast"},
    ),
    "a lock": ([{"tool": "noop"}, {**_CREATE, "on_failure": "continue"}], {}),
    "an approval": ([{"tool": "noop"}], {"approval_level": 1}),
    "a pause and a cancel": (
        [{"tool": "sleep", "parameters": {"seconds": 300}, "timeout_seconds": 300}],
        {"timeout_seconds": 600},
    ),
    "a refusal": ([{"tool": "no_such_tool"}], {}),
}


def _first(harness: Harness, key: str, kind: str) -> str:
    """Wait for an event of the execution with that idempotency key; its execution id."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        harness.read()
        for execution_id, events in harness.log.events.items():
            if events[0]["data"].get("idempotency_key") == key and any(
                event["type"] == kind for event in events
            ):
                return execution_id
    raise AssertionError(f"no {kind} for {key}")


def _records(servers: str, topic: Topic) -> Iterator[Any]:
    """The JSON objects that stand on a topic now."""
    reader = Consumer(
        {
            **client_options(servers),
            "group.id": uuid.uuid4().hex,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            "enable.auto.commit": False,
        }
    )
    reader.assign([TopicPartition(topic.name, n, 0) for n in range(topic.partitions)])
    left = topic.partitions
    try:
        while left:
            for message in reader.consume(5_000, 1.0):
                if message.error() is not None:
                    left -= 1
                    continue
                try:
                    yield orjson.loads(message.value() or b"")
                except orjson.JSONDecodeError:
                    continue  # Poison of another test.
    finally:
        reader.close()


def _records_about_locks() -> dict[str, list[Any]]:
    """What routers write to each other, by the name of its schema; a single one writes none."""
    simulation = Simulation()
    simulation.slow_locks = True
    found: dict[str, list[Any]] = defaultdict(list)
    submit(simulation, "one", change("web-01"))
    submit(simulation, "two", change("web-01"))
    while simulation.lock_records or simulation.commands:
        if simulation.lock_records:
            topic, _, value = simulation.lock_records[0]
            found[FILES[topic.carries]].append(orjson.loads(value))
            simulation.read_locks()
        else:
            simulation.run(simulation.take())
    return found


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_what_is_written_is_valid_for_what_is_published(
    harness: Harness, stack: tuple[LocalStack, Path]
) -> None:
    keys = {name: uuid.uuid4().hex for name in PLANS}
    for name, (steps, plan) in PLANS.items():
        request = {"idempotency_key": keys[name], "plan": {"steps": steps, **plan}}
        harness.produce(orjson.dumps(request))
    steps = [{"tool": "noop", "when": "inputs.n > 1"}]
    plan = {"inputs": {"n": {"type": "integer"}}, "steps": steps}
    name = f"p-{uuid.uuid4().hex}"
    procedure = ProcedureRecord(tenant="default", name=name, version="1", plan=plan)
    value = orjson.dumps(procedure.model_dump())
    harness.produce(value, f"default/{procedure.name}".encode(), PROCEDURES.name)
    schedule = Schedule(name=name, procedure=name, cron="0 3 * * *")
    trigger = Trigger(name=name, procedure=name, topic="alerts")
    for topic, told in (
        (SCHEDULE_COMMANDS, ApplySchedule(name=name, schedule=schedule)),
        (TRIGGER_COMMANDS, ApplyTrigger(name=name, trigger=trigger)),
    ):
        harness.produce(told.model_dump_json().encode(), f"default/{name}".encode(), topic.name)
    harness.flush()
    keys["a procedure"] = uuid.uuid4().hex
    request = {"procedure": procedure.name, "version": "1", "inputs": {"n": 2}}
    harness.produce(orjson.dumps({**request, "idempotency_key": keys["a procedure"]}))
    harness.flush()

    command = harness.control
    held = keys["a pause and a cancel"]
    running = _first(harness, held, "step.started")
    command("pause", running, reason="look first")
    _first(harness, held, "execution.paused")
    command("resume", running)
    _first(harness, held, "execution.resumed")
    command("cancel", running)
    waiting = _first(harness, keys["an approval"], "execution.approval_requested")
    (asked,) = [
        event["data"]
        for event in harness.log.events[waiting]
        if event["type"] == "execution.approval_requested"
    ]
    command("approve", waiting, plan_hash=asked["plan_hash"])
    _first(harness, keys["a refusal"], "execution.rejected")
    harness.wait_ended(set(keys.values()) - {keys["a refusal"]})

    ids = {
        execution_id
        for execution_id, events in harness.log.events.items()
        if events[0]["data"].get("idempotency_key") in keys.values()
    }
    harness.check_progress(ids)
    sample = _records_about_locks()
    assert {one["type"] for one in sample["lock-command"]} == {"acquire", "release"}
    assert {one["type"] for one in sample["lock-answer"]} == {"granted", "queued"}
    for topic in TOPICS.values():
        if topic.carries in FILES:
            for record in _records(stack[0].bootstrap_servers, topic):
                key = record.get("idempotency_key")
                named = record.get("execution_id") in ids or record.get("name") == procedure.name
                if named or key in keys.values():
                    sample[FILES[topic.carries]].append(record)
    # Deliveries of webhooks are the API's: tests/integration/test_webhooks.py reads these.
    assert set(sample) == set(FILES.values()) - {"hook-delivery"}
    found = subprocess.run(
        ["node", "validate-records.mjs", str(SCHEMAS)],
        cwd=node_kit.installed(),
        input=json.dumps(sample),
        capture_output=True,
        text=True,
    )
    assert found.returncode == 0, found.stderr
    assert found.stdout == f"{sum(map(len, sample.values()))} records\n"
    print(found.stdout, {name: len(records) for name, records in sample.items()})
