"""A fake router: it answers requests and commands with the events that a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any

from confluent_kafka import Consumer, Producer

from streams.ids import route_of
from tests.brokers import client_options
from tests.unit.progress.histories import DEFAULTS

#: One event without its envelope: type, data, step, and the execution if it is another one.
Told = tuple[str, dict[str, Any]] | tuple[str, dict[str, Any], str]
Script = Callable[[dict[str, Any]], list[Told]]

PLAN = {"steps": [{"id": "disk", "tool": "df"}]}
ADMITTED = {
    "name": "check",
    "steps": [
        {"id": "disk", "tool": "df", "domain": "automation", "parameters": {}, "retry_safe": True,
         "timeout_seconds": 5.0, "lease_seconds": 15.0, "max_attempts": 2, "backoff_seconds": 1.0,
         "max_backoff_seconds": 10.0}
    ],
}  # fmt: skip
ACCEPTED: dict[str, Any] = {"plan": ADMITTED, "name": "check", "sla_class": "fast",
                            "sla_seconds": 10.0}  # fmt: skip
ENDED: dict[str, Any] = {"steps": {"succeeded": 1}, "elapsed_seconds": 0.2}


class FakeRouter:
    """Reads requests and control under `prefix`; numbers its events per execution."""

    def __init__(self, kafka: str, prefix: str, script: Script) -> None:
        self._prefix = prefix
        self._script = script
        self._stop = threading.Event()
        self._seq: dict[str, int] = {}
        self._producer = Producer(
            {**client_options(kafka), "linger.ms": 0, "partitioner": "murmur2_random"}
        )
        self._consumer = Consumer(
            {
                **client_options(kafka),
                "group.id": f"{prefix}fake",
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 10,
            }
        )
        self._consumer.subscribe([f"{prefix}execution.requests", f"{prefix}execution.control"])
        self._thread = threading.Thread(target=self._run, daemon=True)
        #: Every record that came in, as (key, headers, document).
        self.received: list[tuple[bytes, dict[str, bytes], dict[str, Any]]] = []

    def emit(self, ident: str, told: Told) -> None:
        """Put one event on the log."""
        seq = self._seq[ident] = self._seq.get(ident, 0) + 1
        event = {"execution_id": ident, "seq": seq, "type": told[0], "tenant": "default",
                 "at": "2026-11-20T07:00:00Z",
                 "data": {**DEFAULTS.get(told[0], {}), **told[1]}}  # fmt: skip
        if len(told) > 2:
            event |= {"step": told[2], "attempt": 1}
        self._producer.produce(
            f"{self._prefix}execution.events", json.dumps(event), key=route_of(ident)
        )
        self._producer.flush(10)

    def _run(self) -> None:
        while not self._stop.is_set():
            message = self._consumer.poll(0.1)
            if message is None or message.error() is not None:
                continue
            document = json.loads(message.value() or b"{}")
            headers: dict[str, Any] = dict(message.headers() or [])
            self.received.append((message.key() or b"", headers, document))
            for told in self._script(document):
                self.emit(told[1].get("of", document["execution_id"]), told)

    def __enter__(self) -> FakeRouter:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._thread.join(10)
        self._consumer.close()
