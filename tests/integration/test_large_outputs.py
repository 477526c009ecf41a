"""Large outputs through the whole stack: the beginning in the result, the whole on its topic."""

from __future__ import annotations

import hashlib
import json
import time
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from streams.topics import OUTPUT
from tests.harness import Harness

LINES = [f"line {number} é " + "x" * 380 for number in range(1_000)]
SEQ = "".join(f"{number}\n" for number in range(1, 2_000_001)).encode()


def _run(harness: Harness, steps: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """The data of the last event of each step."""
    ids = harness.wait_ended(harness.submit(1, steps))
    harness.check_log(ids.values())
    (execution_id,) = ids.values()
    ends = ("step.succeeded", "step.failed")
    return {
        event["step"]: {**event["data"], "type": event["type"], "execution": execution_id}
        for event in harness.log.events[execution_id]
        if event["type"] in ends
    }


def _published(harness: Harness, execution_id: str, step: str, size: int) -> bytes:
    """What `execution.output` has of the stdout of a step, as soon as that is `size` bytes."""
    consumer = Consumer(
        {**harness.stack.client_options, "group.id": "large", "enable.auto.commit": False}
    )
    try:
        topic = harness.prefix + OUTPUT.name
        consumer.assign([TopicPartition(topic, n, 0) for n in range(OUTPUT.partitions)])
        chunks: dict[int, bytes] = {}
        deadline = time.monotonic() + 60
        while sum(map(len, chunks.values())) < size:
            assert time.monotonic() < deadline, f"{len(chunks)} chunks of {step}"
            for message in consumer.consume(500, 1.0):
                chunk = json.loads(message.value() or b"{}")
                if chunk.get("execution_id") == execution_id and chunk["step"] == step:
                    chunks[chunk["index"]] = chunk["text"].encode()
        return b"".join(chunks[index] for index in sorted(chunks))
    finally:
        consumer.close()


def test_of_a_large_output_the_beginning_stays_and_the_whole_is_published(
    harness: Harness,
) -> None:
    lines = "steps.a.output.value.lines"
    steps = [
        {"id": "a", "tool": "noop", "parameters": {"value": {"lines": LINES, "count": 1_000}}},
        {"id": "one", "tool": "noop", "parameters": {"value": f"{{{{ {lines}[0] }}}}"}},
        {"id": "all", "tool": "noop", "parameters": {"value": f"{{{{ {lines} }}}}"}},
    ]
    ends = _run(harness, steps)
    output = ends["a"]["output"]
    kept = output["truncated_fields"]["value.lines"]
    assert kept["of"] == 1_000 and kept["kept"] == len(output["value"]["lines"]) > 400
    assert output["value"]["lines"] == LINES[: kept["kept"]]
    assert output["value"]["count"] == 1_000
    assert ends["one"]["output"] == {"value": LINES[0]}
    error = ends["all"]["error"]
    assert error["class"] == "reference"
    assert f"value.lines of steps.a.output was cut: {kept['kept']} of 1,000" in error["message"]
    rest = output["rest"]
    assert (rest["topic"], rest["stream"], rest["offset"]) == ("execution.output", "stdout", 0)
    published = _published(harness, ends["a"]["execution"], "a", rest["bytes"])
    assert len(published) == rest["bytes"]
    assert hashlib.sha256(published).hexdigest() == rest["sha256"]
    assert json.loads(published) == {"value": {"lines": LINES, "count": 1_000}}


def test_of_what_a_program_writes_beyond_what_is_parsed_the_beginning_stays(
    harness: Harness,
) -> None:
    steps = [{"id": "a", "tool": "argv", "parameters": {"argv": ["seq", "2000000"]}}]
    output = _run(harness, steps)["a"]["output"]
    assert SEQ.decode().startswith(output["text"]) and len(output["text"]) > 60_000
    assert output["stdout_bytes"] == len(SEQ) and output["stdout_lines"] == 2_000_000
    assert output["truncated_fields"] == {"text": {"kept": len(output["text"]), "of": None}}
    assert output["rest"] == {
        "topic": "execution.output",
        "stream": "stdout",
        "offset": 0,
        "bytes": len(SEQ),
        "sha256": hashlib.sha256(SEQ).hexdigest(),
    }
