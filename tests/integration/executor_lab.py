"""What the executor tests share: processes, commands as the router sends them, reports."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition

from streams import envelope, ids, report_lines
from streams.reports import REPORT, AnyReport
from streams.topics import EXECUTORS_CONTROL, REPORTS, STEPS, Topic
from tests import brokers
from tests.brokers import client_options
from tests.signing import Keyring

_PROCESS = "import sys; from processors.executors.app import main; sys.exit(main(sys.argv[1:]))"
EXECUTOR = ("-c", _PROCESS, "test")


class ExecutorLab:
    """One topic prefix with its executors; reports are validated as they are read."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        self.bootstrap = bootstrap
        self.prefix = prefix
        self.folder = folder
        self.ledger_path = folder / "ledger"
        self.reports: list[AnyReport] = []
        self.headers: list[dict[str, bytes]] = []
        #: How many records these reports were in.
        self.records = 0
        self.processes: list[subprocess.Popen[bytes]] = []
        self.keys = Keyring(folder, bootstrap, prefix)
        self._random = random.Random(7)
        self._producer = Producer(
            {
                **client_options(bootstrap),
                "partitioner": "murmur2_random",
                "linger.ms": 0,
                "log_level": 2,
            }
        )
        self._consumer = self.reader(REPORTS.name, REPORTS.partitions)

    def reader(self, topic: str, partitions: int) -> Consumer:
        """A consumer of the whole topic, from its beginning, of committed records only."""
        consumer = Consumer(
            {
                **client_options(self.bootstrap),
                "group.id": f"{self.prefix}test",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "log_level": 2,
            }
        )
        name = self.prefix + topic
        consumer.assign([TopicPartition(name, n, OFFSET_BEGINNING) for n in range(partitions)])
        return consumer

    def start(
        self,
        instance: str = "one",
        arguments: tuple[str, ...] = EXECUTOR,
        kafka_options: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> subprocess.Popen[bytes]:
        """Start an executor of the test domain; `settings` become RUNSTREAM_ variables."""
        environment = {
            **os.environ,
            **brokers.environment(self.bootstrap, kafka_options),
            "RUNSTREAM_TOPIC_PREFIX": self.prefix,
            "RUNSTREAM_INSTANCE": instance,
            "RUNSTREAM_LEDGER": str(self.ledger_path),
            "RUNSTREAM_LOG_FORMAT": "json",
            **self.keys.environment(("executor",)),
            **{f"RUNSTREAM_{name.upper()}": str(value) for name, value in settings.items()},
        }
        with (self.folder / f"{instance}.log").open("ab") as log:
            process = subprocess.Popen([sys.executable, *arguments], env=environment, stderr=log)
        self.processes.append(process)
        return process

    def command(self, tool: str = "noop", **changed: Any) -> dict[str, Any]:
        """A step command as the router writes it."""
        route = ids.route_key("acme", str(self._random.random()))
        now = datetime.now(UTC)
        return {
            "execution_id": ids.mint_execution_id(
                route, int(time.time() * 1000), self._random.getrandbits(42)
            ),
            "step": "one",
            "attempt": 1,
            "tool": tool,
            "domain": "test",
            "parameters": {},
            "tenant": "acme",
            "actor": "ci@acme",
            "environment": "dev",
            "timeout_seconds": 60.0,
            "lease_seconds": 30.0,
            "dispatched_at": now.isoformat(),
            "expires_at": (now + timedelta(minutes=5)).isoformat(),
            **changed,
        }

    def send(self, command: dict[str, Any], lane: str = "bulk", *, flush: bool = True) -> str:
        """Send a command; returns its execution id."""
        execution: str = command["execution_id"]
        headers = envelope.headers(
            ident=execution,
            kind="step.command",
            source="test",
            time="2026-11-20T07:00:00.000Z",
            subject=execution,
            traceparent=b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
        )
        topic, value = STEPS["test", lane], orjson.dumps(command)
        key = str(command.get("target") or execution).encode()
        signed = [*headers, self.keys.header("router", topic, value)]
        self.raw(topic, value, key, signed, flush=flush)
        return execution

    def cancel(self, command: dict[str, Any], reason: str = "cancelled", **more: Any) -> None:
        """Cancel an attempt as the router would."""
        names = {name: command[name] for name in ("execution_id", "step", "attempt")}
        body = {**names, "reason": reason, "at": datetime.now(UTC).isoformat(), **more}
        value = orjson.dumps(body)
        signature = self.keys.header("router", EXECUTORS_CONTROL, value)
        self.raw(EXECUTORS_CONTROL, value, ids.attempt_id(**names).encode(), [signature])

    def raw(
        self, topic: Topic, value: bytes, key: bytes, headers: Any, *, flush: bool = True
    ) -> None:
        """Write any bytes; without `flush` they are on their way when it returns."""
        self._producer.produce(self.prefix + topic.name, value, key=key, headers=headers)
        if flush:
            self.flush()

    def flush(self) -> None:
        """The broker has all that was written."""
        assert self._producer.flush(20) == 0

    def of(self, execution: str) -> list[AnyReport]:
        """The reports of one execution so far, heartbeats left out."""
        return [
            one for one in self.reports if one.execution_id == execution and one.type != "heartbeat"
        ]

    def kinds(self, execution: str) -> list[str]:
        """Their types."""
        return [one.type for one in self.of(execution)]

    def count(self, kind: str) -> int:
        """How many reports of this type there are."""
        return sum(one.type == kind for one in self.reports)

    def until(self, condition: Callable[[], bool], seconds: float = 90.0) -> None:
        """Read reports until the condition holds; fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"not in time: {self._tail()}"
            for message in self._consumer.consume(1_000, 0.05):
                assert message.error() is None, message.error()
                self._add(message)

    def _add(self, message: Message) -> None:
        value, headers = message.value() or b"", header_map(message)
        lines = report_lines.split(value, list(headers.items()))
        for line in lines or [value]:
            self.reports.append(REPORT.validate_json(line))
            self.headers.append(headers)
            route = ids.route_of(self.reports[-1].execution_id).encode()
            if lines is None:
                assert message.key() == route
            assert message.partition() == ids.partition_for(route, REPORTS.partitions)
        self.records += 1

    def ledger(self) -> Counter[str]:
        """How often each attempt acted, by execution id."""
        text = self.ledger_path.read_text() if self.ledger_path.exists() else ""
        return Counter(line.split()[0] for line in text.splitlines())

    def close(self) -> None:
        """End what still runs."""
        for process in self.processes:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)
        self._consumer.close()
        # While the broker is there: of a test that failed the lab lives as long as the session,
        # and a client that is left to the end of the interpreter may never end.
        del self._producer

    def _tail(self) -> str:
        logs = [path.read_text()[-1_500:] for path in self.folder.glob("*.log")]
        return f"{Counter(one.type for one in self.reports)} {self.reports[-3:]} {logs}"


def header_map(message: Message) -> dict[str, bytes]:
    """The headers by name; no name may come twice."""
    given = list(message.headers() or [])
    found = {str(pair[0]): pair[1] for pair in given if isinstance(pair[1], bytes)}
    assert len(found) == len(given), given
    return found


@contextmanager
def lab(bootstrap: str, prefix: str, folder: Path) -> Iterator[ExecutorLab]:
    """A lab that leaves nothing running."""
    made = ExecutorLab(bootstrap, prefix, folder)
    try:
        yield made
    finally:
        made.close()
