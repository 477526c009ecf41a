"""`python -m bench.live`: from an event to a row, a snapshot and a reader of a live stream.

Starts a local stack with the live part of the API and times probes: executions of one step, of a
tenant of their own, a few each second. Each is measured from the time in its terminal event (when
the router decided it, before its transaction was committed) to the moment when a query of Postgres
shows the event, when its last snapshot arrives, and when readers of live streams have it. Without
and with readers, some of which read nothing, and each at light load and under a backlog of
five-step plans of another tenant. Prints a table and writes `build/bench-live.json`.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import psutil
import psycopg
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.load import Load, system_request
from devstack.ports import free_port
from devstack.processes import PROJECTOR, ROUTER, SINK, executor
from devstack.stack import LocalStack
from runtime.settings import KAFKA_OPTIONS
from streams.ids import mint_execution_id, route_key
from streams.lifecycle import TERMINAL_EVENTS
from streams.topics import EVENTS, PROGRESS, REQUESTS

_ENVIRONMENT = {
    "RUNSTREAM_CONCURRENCY": "1024",
    "RUNSTREAM_IMMEDIATE_CONCURRENCY": "256",
    "RUNSTREAM_LOG_LEVEL": "warning",
}
#: How long a probe may take to be seen everywhere.
_PATIENCE_SECONDS = 60.0


@dataclass
class Probes:
    """Executions whose events are timed."""

    options: dict[str, Any]
    dsn: str
    rows: list[float] = field(default_factory=list)
    snapshots: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._producer = Producer({**self.options, "linger.ms": 0, "partitioner": "murmur2_random"})
        self._ends: dict[str, float] = {}
        self._shots: dict[str, float] = {}
        self._stop = threading.Event()
        self._guard = threading.Condition()
        self._threads = [
            threading.Thread(target=self._watch, args=(EVENTS.name,), daemon=True),
            threading.Thread(target=self._watch, args=(PROGRESS.name,), daemon=True),
        ]
        self._database = psycopg.connect(self.dsn, autocommit=True)
        for thread in self._threads:
            thread.start()

    def send(self, number: int) -> str:
        """Submit one; returns its id."""
        key = f"{time.time_ns()}-{number}"
        route = route_key("probe", key)
        ident = mint_execution_id(route, time.time_ns() // 1_000_000, time.time_ns())
        request = {
            "execution_id": ident,
            "tenant": "probe",
            "idempotency_key": key,
            "plan": {"name": "probe", "timeout_seconds": 600, "steps": [{"tool": "noop"}]},
        }
        self._producer.produce(REQUESTS.name, key=route.encode(), value=orjson.dumps(request))
        self._producer.flush(10)
        return ident

    def time(self, ident: str) -> None:
        """Wait until it is seen everywhere."""
        deadline = time.monotonic() + _PATIENCE_SECONDS
        query = (
            b"SELECT 1 FROM execution.execution_events WHERE execution_id = %s"
            b" AND event_type = 'execution.completed'"
        )
        while self._database.execute(query, [ident]).fetchone() is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{ident} is not stored")
            time.sleep(0.002)
        stored = time.time()
        with self._guard:
            if not self._guard.wait_for(
                lambda: ident in self._ends and ident in self._shots, _PATIENCE_SECONDS
            ):
                raise TimeoutError(f"{ident} has no end, or no snapshot")
            ended = self._ends.pop(ident)
            self.rows.append((stored - ended) * 1_000)
            self.snapshots.append((self._shots.pop(ident) - ended) * 1_000)

    def _watch(self, topic: str) -> None:
        consumer = Consumer(
            {
                **self.options,
                "group.id": "people-bench-live",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
            }
        )
        parts = [TopicPartition(topic, number) for number in range(EVENTS.partitions)]
        for part in parts:
            part.offset = consumer.get_watermark_offsets(part, timeout=10)[1]
        consumer.assign(parts)
        while not self._stop.is_set():
            for message in consumer.consume(500, 0.002):
                value = message.value()
                if message.error() is not None or value is None or b'"probe"' not in value:
                    continue
                self._note(topic, orjson.loads(value))
        consumer.close()

    def _note(self, topic: str, found: dict[str, Any]) -> None:
        now, ident = time.time(), found["execution_id"]
        with self._guard:
            if topic == EVENTS.name:
                if found["type"] in TERMINAL_EVENTS:
                    self._ends[ident] = _unix(found["at"])
            elif found["percent"] == 100:
                self._shots[ident] = now
            self._guard.notify_all()

    def close(self) -> None:
        """Disconnect."""
        self._stop.set()
        for thread in self._threads:
            thread.join(10)
        self._database.close()


def _unix(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def main() -> int:
    """Measure and report; 0 whatever the figures are."""
    parser = argparse.ArgumentParser(prog="bench.live", description=__doc__)
    parser.add_argument("--readers", type=int, default=500)
    parser.add_argument("--slow", type=int, default=10, help="of the readers, those that read none")
    parser.add_argument("--dashboards", type=int, default=90, help="of them, those of a tenant")
    parser.add_argument("--seconds", type=float, default=30.0, help="of each measurement")
    parser.add_argument("--in-flight", type=int, default=500, help="executions of the load")
    parser.add_argument("--output", type=Path, default=Path("build/bench-live.json"))
    wanted = parser.parse_args()
    os.environ.update(_ENVIRONMENT)
    with tempfile.TemporaryDirectory(prefix="runstream-live-") as folder, ExitStack() as running:
        parts = (ROUTER, executor("executor-test", ["test"]), SINK, PROJECTOR)
        stack = LocalStack(Path(folder) / "stack", processes=parts, test_tools=True)
        running.callback(stack.remove)
        running.enter_context(stack)
        figures = _measure(stack, wanted)
    wanted.output.parent.mkdir(parents=True, exist_ok=True)
    wanted.output.write_text(json.dumps(figures, indent=2) + "\n")
    _show(figures)
    return 0


def _measure(stack: LocalStack, wanted: argparse.Namespace) -> dict[str, Any]:
    options: dict[str, Any] = dict(stack.client_options)
    figures: dict[str, Any] = {}
    with _server(stack) as (port, server):
        load = Load(options, "", system_request)
        # A JVM compiles in its first seconds.
        load.throughput(2_000, 5, wanted.in_flight)
        for word, heavy in (("light", False), ("full", True)):
            for readers in (0, wanted.readers):
                with ExitStack() as during:
                    speeds: list[float] = []
                    if heavy:
                        during.enter_context(_loaded(load, wanted.in_flight, speeds))
                    name = f"{word}, {readers} readers"
                    found = _round(options, stack, server, port, readers, wanted)
                figures[name] = {**found, "executions_per_second": speeds}
                print(name, json.dumps(figures[name]), flush=True)
        load.close()
    return figures


def _round(
    options: dict[str, Any],
    stack: LocalStack,
    server: subprocess.Popen[bytes],
    port: int,
    readers: int,
    wanted: argparse.Namespace,
) -> dict[str, Any]:
    probes = Probes(options, stack.database_url)
    # With no readers of the measurement's own there is one that tells the delay of a stream.
    counts = (10, 1, 0)
    if readers:
        pages = readers - wanted.slow - wanted.dashboards
        counts = (pages, wanted.dashboards, wanted.slow)
    with _readers(port, *counts) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        stdin = process.stdin

        def say(word: str) -> None:
            stdin.write(f"{word}\n".encode())
            stdin.flush()

        time.sleep(3.0)
        for number in range(10):
            ident = probes.send(number)
            say(ident)
            probes.time(ident)
        probes.rows.clear()
        probes.snapshots.clear()
        say("begin")
        of_server = psutil.Process(server.pid)
        cpu = sum(of_server.cpu_times()[:2])
        began = time.monotonic()
        number = 0
        while time.monotonic() - began < wanted.seconds:
            due = began + 0.25 * number
            time.sleep(max(due - time.monotonic(), 0))
            ident = probes.send(number)
            say(ident)
            probes.time(ident)
            number += 1
        seconds = time.monotonic() - began
        cpu = sum(of_server.cpu_times()[:2]) - cpu
        memory = of_server.memory_info().rss
        say("end")
        seen = json.loads(process.stdout.readline())
    probes.close()
    return {
        "probes": number,
        "row_ms": _figures(probes.rows),
        "snapshot_ms": _figures(probes.snapshots),
        **{f"{kind}_stream_ms": _figures(delays) for kind, delays in seen["delays"].items()},
        "first_byte_ms": _figures(seen["first_bytes"]),
        "streams_open": seen["open"],
        "failures": seen["failures"],
        "cuts": seen["cuts"],
        "server_cpu_percent": round(cpu / seconds * 100, 1),
        "server_rss_megabytes": round(memory / 1e6, 1),
    }


def _figures(values: list[float]) -> dict[str, float]:
    if len(values) < 2:
        return {"count": len(values)}
    cuts = statistics.quantiles(values, n=100, method="inclusive")
    return {
        "count": len(values),
        "p50": round(cuts[49], 1),
        "p99": round(cuts[98], 1),
        "max": round(max(values), 1),
    }


@contextmanager
def _server(stack: LocalStack) -> Iterator[tuple[int, subprocess.Popen[bytes]]]:
    options = dict(stack.client_options)
    port = free_port()
    environment = {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": str(options.pop("bootstrap.servers")),
        KAFKA_OPTIONS: json.dumps(options),
        "DATABASE_URL": stack.database_url,
    }
    command = [sys.executable, "-m", "bench.live_server", str(port)]
    with subprocess.Popen(command, env=environment) as process:
        try:
            deadline = time.monotonic() + 30
            while True:
                try:
                    url = f"http://127.0.0.1:{port}/v1/openapi.json"
                    with urllib.request.urlopen(url, timeout=1):
                        break
                except OSError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(0.1)
            yield port, process
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def _readers(port: int, *counts: int) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "bench.live_readers", str(port), *map(str, counts)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.wait(30)


@contextmanager
def _loaded(load: Load, in_flight: int, speeds: list[float]) -> Iterator[None]:
    """A backlog of plans in the background."""
    stop = threading.Event()

    def run() -> None:
        while not stop.is_set():
            speeds.append(round(load.throughput(500, 5, in_flight), 1))

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        time.sleep(3.0)
        yield
    finally:
        stop.set()
        thread.join(60)


def _show(figures: dict[str, Any]) -> None:
    print("\nmilliseconds from the time in an event, p50 / p99")
    for name, found in figures.items():
        print(f"  {name}")
        for kind in ("row_ms", "snapshot_ms", "execution_stream_ms", "tenant_stream_ms"):
            row = found.get(kind, {})
            print(f"    {kind:<22}{row.get('p50', 0):>9.1f}{row.get('p99', 0):>9.1f}")


if __name__ == "__main__":
    sys.exit(main())
