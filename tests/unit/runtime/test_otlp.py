"""Spans as they leave: to a fake receiver, which reads OpenTelemetry's own messages over HTTP.

The whole system reports to a real one in tests/integration/test_traces.py.
"""

from __future__ import annotations

import gzip
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import structlog
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from runtime import logs, settings, tracing
from runtime.settings import ExecutorSettings, SettingsError
from runtime.spans import Fault, Span
from streams.trace_context import NO_SPAN, TraceContext

CONTEXT = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)


class Receiver(ThreadingHTTPServer):
    """A fake receiver of OTLP over HTTP; answers with `status`."""

    daemon_threads = True

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str], ExportTraceServiceRequest]] = []
        self.status = 200
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    server: Receiver

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        given = {name.lower(): value for name, value in self.headers.items()}
        read = ExportTraceServiceRequest.FromString(body)
        self.server.requests.append((self.path, given, read))
        self.send_response(self.server.status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not logged."""


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    made = Receiver()
    thread = threading.Thread(target=made.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.url)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b")
    monkeypatch.setenv("OTEL_BSP_SCHEDULE_DELAY", "10")
    monkeypatch.setenv("OTEL_RESOURCE_ATTRIBUTES", "deployment.environment.name=test")
    yield made
    tracing.end(0)
    made.shutdown()
    made.server_close()
    thread.join()
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()


def begun(app: str) -> tracing.Traces:
    logs.configure(settings.load(ExecutorSettings), app)
    tracing.begin(tracing.load(), "one", app, structlog.get_logger())
    traces = tracing.active()
    assert traces is not None
    traces.start()
    return traces


def span(**changed: Any) -> Span:
    return Span(**{"name": "GET", "context": CONTEXT, "parent": "a" * 16, "kind": "client",
                   "start_ns": 1_000, "end_ns": 2_000, "app": "executor", **changed})  # fmt: skip


def sent(receiver: Receiver, *spans: Span) -> ExportTraceServiceRequest:
    begun("executor").add(*spans)
    tracing.end(10)
    ((path, headers, request),) = receiver.requests
    assert path == "/v1/traces" and headers["api-key"] == "a b"
    return request


def values(attributes: Any) -> dict[str, Any]:
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "") for one in attributes}


def test_a_span_leaves_as_the_protocol_has_it(receiver: Receiver) -> None:
    linked = TraceContext("b" * 32, "c" * 16, True)
    fault = Fault("no_answer", "It does not answer.")
    request = sent(
        receiver,
        span(attributes={"server.port": 80, "server.address": "web"}, fault=fault, links=(linked,)),
    )
    (resource,) = request.resource_spans
    named = values(resource.resource.attributes)
    assert named["service.name"] == "runstream-executor"
    assert named["deployment.environment.name"] == "test"
    assert named["service.instance.id"]
    (scope,) = resource.scope_spans
    (found,) = scope.spans
    assert found.trace_id.hex() == CONTEXT.trace_id and found.span_id.hex() == CONTEXT.span_id
    assert found.parent_span_id.hex() == "a" * 16
    assert (found.start_time_unix_nano, found.end_time_unix_nano) == (1_000, 2_000)
    assert values(found.attributes) == {
        "server.port": 80, "server.address": "web", "error.type": "no_answer"
    }  # fmt: skip
    assert (found.status.code, found.status.message) == (2, "It does not answer.")
    assert [one.span_id.hex() for one in found.links] == ["c" * 16]


def test_the_first_span_of_a_trace_has_no_parent(receiver: Receiver) -> None:
    request = sent(receiver, span(parent=NO_SPAN))
    assert request.resource_spans[0].scope_spans[0].spans[0].parent_span_id == b""


def test_spans_of_the_router_are_the_same_whoever_sends_them(receiver: Receiver) -> None:
    request = sent(receiver, span(app="router"), span(app="executor"))
    named = [values(one.resource.attributes) for one in request.resource_spans]
    by_service = {one["service.name"]: one for one in named}
    assert "service.instance.id" not in by_service["runstream-router"]
    assert "service.instance.id" in by_service["runstream-executor"]


def test_texts_are_masked_as_logs_are_and_cut(receiver: Receiver) -> None:
    fault = Fault("failed", "password=hunter2 " + "x" * 100_000)
    given = {"a": "token=abcdefgh1234 " + "y" * 100_000, "b": "\x00\ud800"}
    request = sent(receiver, span(fault=fault, attributes=given))
    found = request.resource_spans[0].scope_spans[0].spans[0]
    assert "hunter2" not in str(request) and "abcdefgh1234" not in str(request)
    assert len(found.status.message) <= 256
    assert all(len(value) <= 256 for value in values(found.attributes).values())


def test_a_receiver_that_refuses_is_no_error(receiver: Receiver) -> None:
    receiver.status = 400
    traces = begun("executor")
    traces.add(span())
    tracing.end(10)
    traces.add(span())


def test_off_loads_nothing_of_opentelemetrys_sdk() -> None:
    """In a process of its own: tests have loaded it here."""
    code = (
        "import sys, processors.executors.app, processors.router.app, sinks.app\n"
        "found = [name for name in sys.modules if name.startswith('opentelemetry.')]\n"
        "bad = [name for name in found if name.split('.')[1] in ('sdk', 'exporter', 'proto')]\n"
        "assert not bad and 'google.protobuf' not in sys.modules, bad\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_without_the_packages_the_start_says_what_to_install(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracing, "_installed", lambda: False)
    with pytest.raises(SettingsError, match=r"pip install 'runstream\[otel\]'"):
        tracing.begin(tracing.load(), "one", "executor", structlog.get_logger())
