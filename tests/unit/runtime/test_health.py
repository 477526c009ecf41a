"""The health port says what the process says, and whoever hangs up is not in its log."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from runtime.health import CONNECTIONS, Health, serve
from runtime.health_ports import DEFAULT_PORTS
from runtime.settings import CommonSettings
from streams.topology import APPS


@pytest.fixture
def health() -> Health:
    return Health(("kafka",))


@pytest.fixture
def port(health: Health) -> Iterator[int]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number = int(probe.getsockname()[1])
    server = serve(CommonSettings(http_port=number), health, structlog.get_logger())
    assert server is not None
    yield number
    server.shutdown()
    server.server_close()


def test_a_prober_that_hangs_up_is_not_logged(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port)) as prober:
            # A close with linger 0 is a reset: the answer meets a dead connection.
            prober.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            prober.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        # Whoever comes later is served, and by then the one before is done with.
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            assert answer.status == 200
    written = capfd.readouterr()
    assert written.err == "" and written.out == ""


def test_readiness_names_what_is_waited_for(port: int, health: Health) -> None:
    health.waiting("kafka", "the broker does not answer")
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5)
    assert refused.value.code == 503
    assert json.loads(refused.value.read())["waiting"] == {"kafka": "the broker does not answer"}
    refused.value.close()
    health.ready("kafka")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
        assert answer.status == 200


def test_connections_that_say_nothing_take_no_threads_and_keep_no_prober_out(port: int) -> None:
    before = threading.active_count()
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(3 * CONNECTIONS)]
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5) as answer:
            assert answer.status == 200
        # Those that had to go were closed before this answer; their threads end by themselves.
        silent[0].settimeout(5)  # less than the port waits for a request
        assert silent[0].recv(1) == b""
        deadline = time.monotonic() + 5
        while threading.active_count() > before + CONNECTIONS and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert threading.active_count() <= before + CONNECTIONS
    finally:
        for connection in silent:
            connection.close()


def test_a_second_process_of_a_kind_goes_on_without_the_default_port(port: int) -> None:
    logged: list[dict[str, Any]] = []
    log: Any = structlog.wrap_logger(
        structlog.PrintLogger(), processors=[lambda *event: _keep(logged, event[2])]
    )
    assert serve(CommonSettings(http_port=None), Health(()), log, port) is None
    assert [line["taken"] for line in logged] == [port]
    with pytest.raises(OSError, match="in use"):
        serve(CommonSettings(http_port=port), Health(()), log, port)
    assert serve(CommonSettings(http_port=0), Health(()), log, port) is None


def test_every_kind_of_process_has_a_default_port_of_its_own() -> None:
    assert len(set(DEFAULT_PORTS.values())) == len(DEFAULT_PORTS)
    assert {app.name for app in APPS} <= {*DEFAULT_PORTS, "locks", "schedules", "triggers"}


def test_readiness_is_a_metric_too(port: int, health: Health) -> None:
    def shown() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return str(answer.read().decode())

    assert "\nrunstream_ready 0.0\n" in shown()
    health.ready("kafka")
    assert "\nrunstream_ready 1.0\n" in shown()


def _keep(logged: list[dict[str, Any]], event: Any) -> str:
    logged.append(event)
    raise structlog.DropEvent
