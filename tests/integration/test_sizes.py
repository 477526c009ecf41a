"""Sizes at and beyond every limit, through the whole stack: a step or a record fails, no more."""

from __future__ import annotations

import uuid
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer

from runtime.kafka.dead_letters import TRUNCATED
from streams import topics
from streams.ids import mint_execution_id
from streams.limits import MAX_DEAD_LETTER_BYTES, MAX_RECORD_BYTES
from streams.topics import Topic
from tests.brokers import client_options
from tests.harness import Harness

TEN_MIB = 10 * 1024 * 1024


def _run(harness: Harness, steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    ids = harness.wait_ended(harness.submit(1, steps))
    harness.check_log(ids.values())
    (execution_id,) = ids.values()
    events = harness.log.events[execution_id]
    assert max(len(orjson.dumps(event)) for event in events) <= MAX_RECORD_BYTES
    return events


def _errors(events: list[dict[str, Any]]) -> list[str]:
    return [e["data"]["error"]["class"] for e in events if e["type"] == "step.failed"]


def _large(name: str, size: int) -> dict[str, Any]:
    return {"id": name, "tool": "noop", "parameters": {"value": "x" * size}}


def test_references_that_repeat_a_large_output_fail_their_step(harness: Harness) -> None:
    many = ["{{ steps.a.output.value }}"] * 20
    steps = [_large("a", 200_000), {"id": "b", "tool": "noop", "parameters": {"value": many}}]
    assert _errors(_run(harness, steps)) == ["too_large"]


def test_three_hundred_large_items_fail_their_step(harness: Harness) -> None:
    items = "{{ steps.a.output.value }}"
    steps = [
        _large("a", 200_000),
        {"id": "b", "tool": "noop", "for_each": [items, items, items]},
    ]
    assert _errors(_run(harness, steps)) == ["too_large"]


def test_twenty_steps_with_large_outputs_complete_across_a_restart(harness: Harness) -> None:
    steps = [{**_large("a", 200_000)}]
    for number in range(19):
        before = "a" if number == 0 else f"s{number - 1}"
        reference = f"{{{{ steps.{before}.output.value }}}}"
        steps.append({"id": f"s{number}", "tool": "noop", "parameters": {"value": reference}})
    keys = harness.submit(2, steps)
    killed = harness.kill("router")
    harness.wait_back("router", killed)
    ids = harness.wait_ended(keys)
    harness.check_log(ids.values())
    for execution_id in ids.values():
        assert harness.log.ends(execution_id) == ["execution.completed"]


@pytest.mark.parametrize(
    "topic",
    [topics.REQUESTS, topics.CONTROL, topics.REPORTS, topics.STEPS["test", "bulk"], topics.EVENTS],
    ids=lambda topic: topic.name,
)
def test_what_is_large_once_decompressed_stops_nobody(harness: Harness, topic: Topic) -> None:
    execution_id = mint_execution_id("00000001", harness.began_ms, 1)
    body = {"steps": [{"tool": "noop"}], "execution_id": execution_id, "pad": " " * TEN_MIB}
    producer = Producer(
        {
            **client_options(harness.stack.bootstrap_servers),
            "compression.type": "gzip",
            "message.max.bytes": 4 * TEN_MIB,
        }
    )
    producer.produce(harness.prefix + topic.name, value=orjson.dumps(body), key=uuid.uuid4().hex)
    assert producer.flush(60) == 0
    if topic is not topics.REQUESTS:  # There it is a request like any other, and rejected.
        ((value, headers),) = harness.dead_letters(topic, 1)[-1:]
        assert int(headers[TRUNCATED]) > TEN_MIB
        assert len(value or b"") < MAX_DEAD_LETTER_BYTES
    events = _run(harness, [{"tool": "noop"}])
    assert events[-1]["type"] == "execution.completed"
