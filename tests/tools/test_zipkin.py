"""The zipkin tool at a real Zipkin server, which Maven has and Debian has not."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from tests.tools.conftest import Execute
from tests.tools.running import program, server

pytestmark = pytest.mark.timeout(300)

_VERSION = "3.4.4"
_ARTIFACT = f"io.zipkin:zipkin-server:{_VERSION}:jar:slim"
_TRACE = "4bf92f3577b34da6"


@pytest.fixture(scope="module")
def jar(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The server as Maven's repository has it; 44 MB, kept in Maven's own folder afterwards."""
    for name in ("java", "mvn"):
        if shutil.which(name) is None:
            pytest.skip(f"program {name} is not installed: Zipkin's server is fetched by Maven")
    folder = tmp_path_factory.mktemp("zipkin")
    argv = [program("mvn", "maven"), "-q", "-B", "dependency:copy", f"-Dartifact={_ARTIFACT}"]
    fetched = subprocess.run(
        [*argv, f"-DoutputDirectory={folder}"],
        capture_output=True, text=True, timeout=240, check=False, cwd=folder,
    )  # fmt: skip
    if fetched.returncode != 0 and not os.environ.get("CI"):
        pytest.skip(f"Maven cannot fetch {_ARTIFACT}: {fetched.stdout[-500:]}")
    assert fetched.returncode == 0, fetched.stdout
    return folder / f"zipkin-server-{_VERSION}-slim.jar"


def _asked(url: str, spans: list[dict[str, Any]] | None = None) -> Any:
    data = None if spans is None else json.dumps(spans).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read() or b"null")


def _answers(url: str) -> bool:
    try:
        return bool(_asked(f"{url}/health")["status"] == "UP")
    except OSError:
        return False


@pytest.fixture(scope="module")
def zipkin(jar: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    argv = [program("java", "default-jre-headless"), "-Xmx192m", "-jar", str(jar)]
    argv += ["--armeria.ports[0].ip=127.0.0.1", f"--armeria.ports[0].port={port}"]
    with server(argv, lambda: _answers(url), jar.with_name("server.log")):
        yield url


def test_traces_are_found_as_they_were_reported(execute: Execute, zipkin: str) -> None:
    begun = int(time.time() * 1_000_000) - 5_000_000
    root = {
        "traceId": _TRACE, "id": "00f067aa0ba902b7", "name": "get /orders", "kind": "SERVER",
        "timestamp": begun, "duration": 900_000, "localEndpoint": {"serviceName": "checkout"},
        "tags": {"error": "true", "a": "b&c"},
    }  # fmt: skip
    child = {
        "traceId": _TRACE, "id": "1f067aa0ba902b70", "parentId": root["id"], "name": "select",
        "timestamp": begun + 1_000, "duration": 200_000, "kind": "CLIENT",
        "localEndpoint": {"serviceName": "checkout"}, "remoteEndpoint": {"serviceName": "stock"},
    }  # fmt: skip
    other = {**root, "traceId": "aaaabbbbccccdddd", "duration": 10, "tags": {}}
    _asked(f"{zipkin}/api/v2/spans", [root, child, other])

    def told(**parameters: Any) -> dict[str, Any]:
        result = execute("zipkin", {"url": zipkin, **parameters})
        assert result.status == "succeeded", result
        return result.output

    assert told()["items"] == _asked(f"{zipkin}/api/v2/services") == ["checkout"]
    assert told(operation="spans", service="checkout")["items"] == ["get /orders", "select"]
    found = told(operation="traces", service="checkout", annotation_query="error and a=b&c")
    assert [trace["trace_id"] for trace in found["traces"]] == [_TRACE]
    slow = told(operation="traces", service="checkout", min_duration_us=500_000)
    assert [trace["trace_id"] for trace in slow["traces"]] == [_TRACE]
    assert len(told(operation="traces", service="checkout")["traces"]) == 2
    (one,) = told(operation="trace", trace_id=_TRACE)["traces"]
    assert (one["trace_id"], one["root"]) == (_TRACE, "get /orders")
    end = int(time.time() * 1_000)
    (pair,) = told(operation="dependencies", end_ms=end)["items"]
    assert (pair["parent"], pair["child"], pair["callCount"]) == ("checkout", "stock", 1)
    assert told(operation="health")["data"]["status"] == "UP"
    gone = execute("zipkin", {"url": zipkin, "operation": "trace", "trace_id": "0" * 15 + "1"})
    assert (gone.status, gone.error_class) == ("failed", "http_status")
