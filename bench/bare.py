"""The bare loop: consume, decide, produce, and nothing else.

The same clients, topics, partitions and transactions as the system, but no validation, no state,
no headers, no claim of its own, no timers, no changelog. What it reaches is what this machine and
this broker give a Python process of this shape; the system is measured against it.

`python -m bench.bare router|executor` runs one of its two processes.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

import orjson
from confluent_kafka import Consumer, Producer

from runtime import kafka, settings
from streams.topics import EVENTS, REPORTS, REQUESTS, STEPS, Topic

Send = Callable[[Topic, bytes, dict[str, Any]], None]
STEP_TOPIC = STEPS["test", "bulk"]


def route(message: dict[str, Any], send: Send) -> None:
    """The router without anything: the request or report says which step is next."""
    key = message["id"].encode()
    if "left" not in message:
        send(EVENTS, key, {"id": message["id"], "type": "accepted"})
        send(STEP_TOPIC, key, {"id": message["id"], "left": message["steps"]})
        return
    send(EVENTS, key, {"id": message["id"], "type": "started"})
    send(EVENTS, key, {"id": message["id"], "type": "succeeded"})
    if message["left"]:
        send(STEP_TOPIC, key, {"id": message["id"], "left": message["left"]})
    else:
        send(EVENTS, key, {"id": message["id"], "type": "execution.completed"})


def execute(message: dict[str, Any], send: Send) -> None:
    """The executor without anything."""
    key = message["id"].encode()
    send(REPORTS, key, {"id": message["id"], "left": message["left"] - 1})


def loop(
    name: str, sources: tuple[Topic, ...], act: Callable[[dict[str, Any], Send], None]
) -> None:
    """Consume a batch, act on every message, and commit it all in one transaction."""
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    own = settings.load(settings.CommonSettings)
    producer = Producer(kafka.transactional(own, f"{own.topic_prefix}bare-{name}"))
    producer.init_transactions(30)
    consumer = Consumer(
        kafka.consumer(
            own,
            f"{own.topic_prefix}bare-{name}",
            **{"partition.assignment.strategy": "range"},
        )
    )
    consumer.subscribe([kafka.topic_name(own, topic) for topic in sources])
    names = {topic: kafka.topic_name(own, topic) for topic in (*sources, EVENTS, REPORTS)}
    names[STEP_TOPIC] = kafka.topic_name(own, STEP_TOPIC)

    def send(topic: Topic, key: bytes, value: dict[str, Any]) -> None:
        while True:
            try:
                producer.produce(names[topic], key=key, value=orjson.dumps(value))
                return
            except BufferError:
                producer.poll(0.05)

    while not stop.is_set():
        first = consumer.poll(0.25)
        if first is None:
            continue
        producer.begin_transaction()
        for message in (first, *consumer.consume(999, 0)):
            act(orjson.loads(message.value() or b""), send)
        producer.send_offsets_to_transaction(
            consumer.position(consumer.assignment()), consumer.consumer_group_metadata()
        )
        producer.commit_transaction()
    consumer.close()


if __name__ == "__main__":
    if sys.argv[1] == "router":
        loop("router", (REQUESTS, REPORTS), route)
    else:
        loop("executor", (STEP_TOPIC,), execute)
