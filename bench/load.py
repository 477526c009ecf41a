"""Load: submits executions to one of the two systems and watches its event topic."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer, TopicPartition

from streams.ids import mint_execution_id, route_key
from streams.topics import EVENTS, REQUESTS

#: What a Kafka client is given to connect.
Options = dict[str, str]
#: Makes (key, value) of a request for a given number of steps.
Request = Callable[[int], tuple[bytes, bytes]]

TIMEOUT_SECONDS = 120.0


def system_request(steps: int, *, locks: bool = False) -> tuple[bytes, bytes]:
    """A request as a client sends it: its key and its bytes.

    With `locks` its steps count as changes of an asset that is its own.
    """
    key = uuid.uuid4().hex
    step = {"tool": "change", "assets": [key]} if locks else {"tool": "noop"}
    route = route_key("bench", key)
    execution_id = mint_execution_id(route, time.time_ns() // 1_000_000, uuid.uuid4().int)
    value = {
        "execution_id": execution_id,
        "tenant": "bench",
        "idempotency_key": key,
        "plan": {
            "name": "bench",
            # Every plan of a backlog must have time to wait until it is started.
            "timeout_seconds": 600,
            "steps": [step] * steps,
        },
    }
    return route.encode(), orjson.dumps(value)


def bare_request(steps: int) -> tuple[bytes, bytes]:
    """The same for the bare loop."""
    execution_id = uuid.uuid4().hex
    value = orjson.dumps({"id": execution_id, "steps": steps})
    return execution_id.encode(), value


class Load:
    """A client of one system; each system has a topic prefix of its own."""

    def __init__(self, options: Options, prefix: str, request: Request) -> None:
        """Connect, and seek to the end of the event topic."""
        self._request = request
        self._topic = prefix + REQUESTS.name
        self._producer = Producer({**options, "linger.ms": 0, "partitioner": "murmur2_random"})
        self._consumer = Consumer(
            {
                **options,
                "group.id": f"bench-{uuid.uuid4().hex}",
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 5,
                "enable.auto.commit": False,
            }
        )
        parts = [TopicPartition(prefix + EVENTS.name, n) for n in range(EVENTS.partitions)]
        for part in parts:
            part.offset = self._consumer.get_watermark_offsets(part, timeout=10)[1]
        self._consumer.assign(parts)
        self._consumer.poll(0.5)

    def throughput(self, executions: int, steps: int, in_flight: int) -> float:
        """Run `executions`, at most `in_flight` at once; per second from first to last."""
        began = time.perf_counter()
        sent = done = 0
        while done < executions:
            while sent < executions and sent - done < in_flight:
                self._send(steps)
                sent += 1
            self._producer.poll(0)
            for message in self._consumer.consume(1_000, 0.02):
                done += _ends(message)
            if time.perf_counter() - began > TIMEOUT_SECONDS:
                raise TimeoutError(f"{done} of {executions} executions ended")
        return done / (time.perf_counter() - began)

    def latency(self, executions: int, steps: int) -> list[float]:
        """Milliseconds from the submission to the end, one execution at a time."""
        taken = []
        for _ in range(executions):
            began = time.perf_counter()
            self._send(steps)
            self._producer.poll(0)
            while True:
                message = self._consumer.poll(TIMEOUT_SECONDS)
                if message is None:
                    raise TimeoutError("an execution did not end")
                if _ends(message):
                    break
            taken.append((time.perf_counter() - began) * 1_000)
        return taken

    def close(self) -> None:
        """Disconnect."""
        self._producer.flush(5)
        self._consumer.close()

    def _send(self, steps: int) -> None:
        key, value = self._request(steps)
        while True:
            try:
                self._producer.produce(self._topic, key=key, value=value)
                return
            except BufferError:
                self._producer.poll(0.05)


def _ends(message: Any) -> bool:
    if message.error() is not None:
        raise RuntimeError(message.error())
    value = message.value()
    if b'"type":"execution.completed"' in value:
        return True
    for bad in (b"execution.rejected", b"execution.failed", b"execution.partial"):
        if b'"type":"' + bad in value or b"execution.timed_out" in value:
            raise RuntimeError(f"an execution did not complete: {value[:400]!r}")
    return False
