"""The local stack with a real broker and a real database, and stand-ins for our processes."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]

from devstack.errors import LocalStackError
from devstack.identity import start_mark
from devstack.processes import ProcessSpec
from devstack.stack import LocalStack

pytestmark = pytest.mark.timeout(120)

_SERVES = """
import os
from http.server import BaseHTTPRequestHandler, HTTPServer

class Ready(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()

HTTPServer(("127.0.0.1", int(os.environ["RUNSTREAM_HTTP_PORT"])), Ready).serve_forever()
"""
_PREPARES = """
import os, psycopg
with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
    connection.execute("CREATE TABLE IF NOT EXISTS prepared (at timestamptz DEFAULT now())")
    connection.execute("INSERT INTO prepared DEFAULT VALUES")
"""


def _python(name: str, code: str) -> ProcessSpec:
    return ProcessSpec(name=name, argv=(sys.executable, "-c", code))


def _stack(folder: Path, told: list[str] | None = None) -> LocalStack:
    return LocalStack(
        folder,
        report=(told if told is not None else []).append,
        processes=[_python("first", _SERVES), _python("second", _SERVES)],
        preparation=[_python("prepare", _PREPARES)],
    )


def _eventually(holds: Callable[[], bool], seconds: float = 90.0) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "did not happen in time"
        time.sleep(0.05)


def _pids(stack: LocalStack) -> list[int]:
    status = stack.status()
    assert status is not None
    return [process.pid for process in status.processes if process.pid is not None]


def _produce(stack: LocalStack, value: bytes) -> None:
    producer = Producer({**stack.client_options, "message.timeout.ms": 20_000})
    producer.produce("kept", value)
    assert producer.flush(20) == 0


@pytest.fixture(scope="module")
def told() -> list[str]:
    """What the start of the stack said while it went on."""
    return []


@pytest.fixture(scope="module", name="small_stack")
def _small_stack(tmp_path_factory: pytest.TempPathFactory, told: list[str]) -> Iterator[LocalStack]:
    with _stack(tmp_path_factory.mktemp("stack") / "state", told) as running:
        yield running
    running.remove()


def test_serves_records_and_rows(small_stack: LocalStack) -> None:
    admin = AdminClient(small_stack.client_options)
    for future in admin.create_topics([NewTopic("kept", 1, 1)]).values():
        future.result(20)
    _produce(small_stack, b"before")
    with psycopg.connect(small_stack.database_url) as connection:
        rows = connection.execute("SELECT count(*) FROM prepared").fetchone()
    assert rows == (1,)


def test_the_start_says_what_it_is_doing(small_stack: LocalStack, told: list[str]) -> None:
    wanted = [
        "starting Kafka and Postgres",
        "running prepare",
        "prepare done",
        "starting first, second",
        "everything is ready",
    ]
    said = [line for line in told if line.startswith(tuple(wanted))]
    assert len(said) == len(wanted)
    assert all(line.startswith(start) for line, start in zip(said, wanted, strict=True))


def test_a_second_start_finds_it_running(small_stack: LocalStack) -> None:
    before = _pids(small_stack)
    status = small_stack.status()
    assert status is not None
    assert _stack(Path(status.processes[0].log).parents[1]).start() is False
    assert _pids(small_stack) == before


@pytest.mark.parametrize("name", ["first", "postgres", "kafka"])
def test_a_killed_process_comes_back(small_stack: LocalStack, name: str) -> None:
    before = small_stack.process(name)
    servers = (small_stack.bootstrap_servers, small_stack.database_url)
    assert before.pid is not None
    os.kill(before.pid, signal.SIGKILL)
    _eventually(lambda: small_stack.process(name).restarts == before.restarts + 1)
    _eventually(lambda: small_stack.process(name).healthy)
    after = small_stack.process(name)
    assert after.pid != before.pid
    assert after.last_exit == -signal.SIGKILL
    assert (small_stack.bootstrap_servers, small_stack.database_url) == servers


def test_a_killed_supervisor_takes_all_along_and_the_next_start_goes_on(
    small_stack: LocalStack,
) -> None:
    status = small_stack.status()
    assert status is not None
    pids = _pids(small_stack)
    os.kill(status.supervisor_pid, signal.SIGKILL)
    _eventually(lambda: all(start_mark(pid) is None for pid in pids), 10)
    assert small_stack.start(detach=False) is True
    assert (small_stack.bootstrap_servers, small_stack.database_url) == (
        status.bootstrap_servers,
        status.database_url,
    )
    _produce(small_stack, b"after")
    consumer = Consumer(
        {
            **small_stack.client_options,
            "group.id": "test",
            "auto.offset.reset": "earliest",
        }
    )
    consumer.subscribe(["kept"])
    values = [message.value() for message in consumer.consume(2, 20)]
    consumer.close()
    assert values == [b"before", b"after"]


def test_uses_servers_that_it_is_given_and_stops_only_its_own(
    small_stack: LocalStack, tmp_path: Path
) -> None:
    with LocalStack(
        tmp_path / "state",
        processes=[_python("only", _SERVES)],
        preparation=[],
        bootstrap_servers=small_stack.bootstrap_servers,
        database_url=small_stack.database_url,
    ) as other:
        status = other.status()
        assert status is not None
        assert [process.name for process in status.processes] == ["only"]
        pids = _pids(other)
    assert all(start_mark(pid) is None for pid in pids)
    assert small_stack.process("kafka").healthy


def test_a_start_that_cannot_succeed_leaves_nothing(
    small_stack: LocalStack, tmp_path: Path
) -> None:
    broken = LocalStack(
        tmp_path / "state",
        processes=[_python("good", _SERVES), _python("broken", "raise SystemExit('no such file')")],
        preparation=[],
        bootstrap_servers=small_stack.bootstrap_servers,
        database_url=small_stack.database_url,
    )
    with pytest.raises(LocalStackError, match=r"broken keeps ending:\n.*no such file"):
        broken.start()
    status = broken.status()
    assert status is not None
    assert not status.is_running
    assert status.phase == "failed"
    assert _pids(broken) == []


def test_stop_leaves_nothing_and_may_be_repeated(small_stack: LocalStack) -> None:
    pids = _pids(small_stack)
    assert small_stack.stop() is True
    assert all(start_mark(pid) is None for pid in pids)
    assert small_stack.stop() is False
