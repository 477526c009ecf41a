"""What the tests of several routers share: processes under one topic prefix, and the group."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from streams.topics import REPORTS, Topic
from tests import brokers
from tests.brokers import client_options
from tests.harness import Harness
from tests.integration.groups import members
from tests.signing import Keyring

ROUTER = ("-m", "console", "router")
EXECUTOR = ("-m", "console", "executor", "--domain", "test")
STEPS: list[dict[str, Any]] = [{"tool": "noop"}] * 3


class _Server:
    """As much of a stack as the harness needs here."""

    def __init__(self, bootstrap_servers: str) -> None:
        self.bootstrap_servers = bootstrap_servers
        self.client_options = client_options(bootstrap_servers)


class RouterLab(Harness):
    """A harness over routers and an executor that the test starts, stops and freezes."""

    def __init__(self, bootstrap: str, prefix: str, folder: Path) -> None:
        stack: Any = _Server(bootstrap)
        ledger = folder / "ledger"
        ledger.touch()
        super().__init__(stack, ledger, prefix)
        self.folder = folder
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        self.keys = Keyring(folder, bootstrap, prefix)
        self._admin = AdminClient(client_options(bootstrap))

    def start(self, name: str, arguments: tuple[str, ...] = ROUTER, **settings: Any) -> None:
        """Start a process; `settings` become RUNSTREAM_ variables."""
        environment = {
            **os.environ,
            **brokers.environment(self.stack.bootstrap_servers),
            "RUNSTREAM_TOPIC_PREFIX": self.prefix,
            "RUNSTREAM_INSTANCE": name,
            "RUNSTREAM_TEST_TOOLS": "true",
            "RUNSTREAM_LEDGER": str(self.ledger),
            "RUNSTREAM_LOG_FORMAT": "json",
            **self.keys.environment(arguments),
            **{f"RUNSTREAM_{key.upper()}": str(value) for key, value in settings.items()},
        }
        with (self.folder / f"{name}.log").open("ab") as log:
            self.processes[name] = subprocess.Popen(
                [sys.executable, *arguments], env=environment, stderr=log
            )

    def signal(self, name: str, number: int) -> None:
        """Send a signal to a process that this lab has started."""
        self.processes[name].send_signal(number)

    def is_stopped(self, name: str) -> bool:
        """Whether the process stands still because of SIGSTOP."""
        fields = Path(f"/proc/{self.processes[name].pid}/stat").read_text().rpartition(")")[2]
        return fields.split()[0] == "T"

    def members(self) -> dict[str, int]:
        """How many partitions each member of the routers' group has; empty during a rebalance."""
        return members(self._admin, f"{self.prefix}runstream-router")

    def events(self, name: str, event: str) -> list[dict[str, Any]]:
        """The log lines of a process with this event."""
        lines = (self.folder / f"{name}.log").read_bytes().splitlines()
        found = [json.loads(line) for line in lines if line.startswith(b"{")]
        return [line for line in found if line["event"] == event]

    def until(self, condition: Callable[[], bool], what: str, seconds: float = 60.0) -> None:
        """Read events until the condition holds; fails after so many seconds."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, f"{what}: {self.tails()}"
            self.read(0.1)

    def tails(self) -> dict[str, str]:
        """The ends of all logs, for a failure's message."""
        return {path.stem: path.read_text()[-1_500:] for path in self.folder.glob("*.log")}

    def check(self, keys: set[str]) -> None:
        """Nothing lost, nothing twice: every plan accepted once and completed, numbered 1..n."""
        ids = self.wait_ended(keys)
        assert len(ids) == len(keys)
        self.check_log(ids.values())
        self.check_ledger(ids.values())
        assert {self.log.ends(one)[0] for one in ids.values()} == {"execution.completed"}

    def load(self, plans: int) -> set[str]:
        """Submit plans of three steps."""
        return self.submit(plans, STEPS, timeout_seconds=300)

    def raw_report(self, value: dict[str, Any], key: bytes) -> None:
        """Put a report on the topic as an executor would."""
        raw = orjson.dumps(value)
        signature = self.keys.header("executor", REPORTS, raw)
        self.produce(raw, key=key, topic=REPORTS.name, headers=[signature])

    def close(self) -> None:
        for process in self.processes.values():
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
                process.wait(10)
        super().close()
        del self._admin


@contextmanager
def router_lab(bootstrap: str, prefix: str, folder: Path) -> Iterator[RouterLab]:
    """A lab that leaves nothing running."""
    made = RouterLab(bootstrap, prefix, folder)
    try:
        yield made
    finally:
        made.close()


@contextmanager
def own_topics(bootstrap: str, topics: Iterable[Topic]) -> Iterator[str]:
    """These topics under a prefix of their own, for as long as several tests need them."""
    prefix = f"s{uuid.uuid4().hex[:10]}."
    admin = AdminClient(client_options(bootstrap))
    new = [NewTopic(prefix + one.name, one.partitions, 1, config=one.config()) for one in topics]
    for future in admin.create_topics(new, operation_timeout=60).values():
        future.result(90)
    try:
        yield prefix
    finally:
        for future in admin.delete_topics([topic.topic for topic in new]).values():
            future.result(60)
