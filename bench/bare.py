"""The bare loop: consume, decide, produce, and nothing else.

The same clients, topics, partitions, hops and transactions as the system: a router that answers
every request and report in one transaction with its offsets, and an executor that claims in a
transaction and reports the result afterwards. Twelve events for five steps (accepted, then started
and succeeded of each, completed). There is no validation, no state, no headers, no changelog, no
timers, no leases, no drivers. Its throughput is what a Python process with these clients
reaches on this machine and broker; the system is compared with it.

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

from runtime import settings
from runtime.kafka import clients
from streams.topics import EVENTS, REPORTS, REQUESTS, STEPS, Topic

Send = Callable[[Topic, bytes, dict[str, Any]], None]
STEP_TOPIC = STEPS["test", "bulk"]


def route(message: dict[str, Any], send: Send) -> None:
    """A router without state: the request or report says which step is next."""
    ident = message["id"]
    key = ident.encode()
    kind = message.get("type")
    if kind is None:
        send(EVENTS, key, {"id": ident, "type": "accepted"})
        send(STEP_TOPIC, key, {"id": ident, "left": message["steps"]})
        return
    send(EVENTS, key, {"id": ident, "type": kind})
    if kind == "started":
        return
    if message["left"]:
        send(STEP_TOPIC, key, {"id": ident, "left": message["left"]})
    else:
        send(EVENTS, key, {"id": ident, "type": "execution.completed"})


class Loop:
    """Consume a batch, act on every message, and commit it all in one transaction."""

    def __init__(self, name: str, sources: tuple[Topic, ...]) -> None:
        """Connect; raises SettingsError or KafkaException."""
        self._own = settings.load(settings.CommonSettings)
        group = f"{self._own.topic_prefix}bare-{name}"
        self._producer = Producer(clients.transactional(self._own, group))
        self._producer.init_transactions(30)
        self._after = Producer(clients.producer(self._own))
        self._consumer = Consumer(
            clients.consumer(self._own, group, **{"partition.assignment.strategy": "range"})
        )
        self._consumer.subscribe([clients.topic_name(self._own, topic) for topic in sources])
        self._stop = threading.Event()
        signal.signal(signal.SIGTERM, lambda *_: self._stop.set())

    def run(self, act: Callable[[list[dict[str, Any]]], None]) -> None:
        """Until SIGTERM; `act` gets each batch inside its transaction."""
        while not self._stop.is_set():
            first = self._consumer.poll(0.25)
            if first is None:
                continue
            self._producer.begin_transaction()
            messages = (first, *self._consumer.consume(999, 0))
            batch = [orjson.loads(message.value() or b"") for message in messages]
            act(batch)
            self._producer.send_offsets_to_transaction(
                self._consumer.position(self._consumer.assignment()),
                self._consumer.consumer_group_metadata(),
            )
            self._producer.commit_transaction()
            self.committed(batch)
        self._consumer.close()
        self._after.flush(5)

    def committed(self, batch: list[dict[str, Any]]) -> None:
        """Called after the transaction of this batch; the router does nothing."""

    def send(self, topic: Topic, key: bytes, value: dict[str, Any]) -> None:
        """Add a record to the transaction."""
        self._put(self._producer, topic, key, value)

    def send_after(self, topic: Topic, key: bytes, value: dict[str, Any]) -> None:
        """Send a record outside of any transaction."""
        self._put(self._after, topic, key, value)

    def _put(self, producer: Producer, topic: Topic, key: bytes, value: dict[str, Any]) -> None:
        name = clients.topic_name(self._own, topic)
        while True:
            try:
                producer.produce(name, key=key, value=orjson.dumps(value))
                producer.poll(0)
                return
            except BufferError:
                producer.poll(0.05)


class Router(Loop):
    """One transaction per batch of requests and reports."""

    def act(self, batch: list[dict[str, Any]]) -> None:
        """Decide about every message."""
        for message in batch:
            route(message, self.send)


class Executor(Loop):
    """The claims of a batch in one transaction, the results after it."""

    def act(self, batch: list[dict[str, Any]]) -> None:
        """Claim."""
        for message in batch:
            claim = {"id": message["id"], "type": "started", "left": message["left"] - 1}
            self.send(REPORTS, message["id"].encode(), claim)

    def committed(self, batch: list[dict[str, Any]]) -> None:
        """Report every step as done; the steps are no-ops."""
        for message in batch:
            result = {"id": message["id"], "type": "succeeded", "left": message["left"] - 1}
            self.send_after(REPORTS, message["id"].encode(), result)


if __name__ == "__main__":
    if sys.argv[1] == "router":
        router = Router("router", (REQUESTS, REPORTS))
        router.run(router.act)
    else:
        executor = Executor("executor", (STEP_TOPIC,))
        executor.run(executor.act)
