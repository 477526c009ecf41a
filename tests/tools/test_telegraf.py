"""The telegraf tool at a real Telegraf, built from Go's modules with the plugins used here."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from tests.tools.built import built
from tests.tools.conftest import Execute, Result
from tests.tools.running import listens, server, until

pytestmark = pytest.mark.timeout(300)

_PASSWORD = "a password: of the tests"


@contextmanager
def telegraf(folder: Path, most_bytes: float) -> Iterator[tuple[str, str]]:
    """Addresses of its health, which is good below so much memory, and of its metrics."""
    daemon = built("telegraf")
    health, metrics = free_port(), free_port()
    config = folder / "telegraf.conf"
    config.write_text(
        f"""
[agent]
  interval = "200ms"
  flush_interval = "200ms"
  flush_jitter = "0s"
  hostname = "web-01"
[[inputs.mem]]
[[outputs.health]]
  service_address = "http://127.0.0.1:{health}"
  namepass = ["mem"]
  [[outputs.health.compares]]
    field = "total"
    lt = {most_bytes:f}
[[outputs.prometheus_client]]
  listen = "127.0.0.1:{metrics}"
  basic_username = "monitor"
  basic_password = "{_PASSWORD}"
  collectors_exclude = ["gocollector", "process"]
"""
    )
    argv = [daemon, f"--config={config}"]
    with server(argv, lambda: listens(health) and listens(metrics), folder / "log"):
        yield f"http://127.0.0.1:{health}", f"http://127.0.0.1:{metrics}"


def memory_bytes() -> int:
    """What the kernel says of this machine."""
    found = re.search(r"^MemTotal: +(\d+) kB$", Path("/proc/meminfo").read_text(), re.M)
    assert found is not None
    return int(found[1]) * 1024


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


def test_health_and_metrics(execute: Execute, tmp_path: Path) -> None:
    with telegraf(tmp_path, most_bytes=2.0**60) as (health, metrics):
        assert succeeded(execute("telegraf", {"url": health})) | {"exit_code": 0} == {
            "exit_code": 0,
            "status": 200,
            "healthy": True,
        }
        login = {"username": "monitor", "password": _PASSWORD}
        asked = {"url": metrics, "operation": "metrics", **login}

        def total() -> dict[str, Any] | None:
            found = succeeded(execute("telegraf", asked))["metrics"]
            return next((one for one in found if one["name"] == "mem_total"), None)

        until(lambda: total() is not None, "memory was measured")
        assert total() == {
            "name": "mem_total",
            "labels": {"host": "web-01"},
            "value": memory_bytes(),
        }
        wrong = execute("telegraf", {**asked, "password": "another"})
        assert (wrong.status, wrong.output["status"]) == ("failed", 401)
        nobody = execute("telegraf", {"url": health, "operation": "metrics", "path": "/other"})
        assert nobody.status == "succeeded" or nobody.error_class == "http_status"


def test_one_that_is_not_healthy(execute: Execute, tmp_path: Path) -> None:
    with telegraf(tmp_path, most_bytes=1.0) as (health, _):
        until(
            lambda: succeeded(execute("telegraf", {"url": health}))["healthy"] is False,
            "what was measured is too much",
        )
        assert succeeded(execute("telegraf", {"url": health}))["status"] == 503
    away = execute("telegraf", {"url": health})
    assert away.error_class == "connection_refused"
