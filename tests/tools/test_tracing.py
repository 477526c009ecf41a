"""Jaeger, Zipkin, Fluentd and Telegraf, which Debian does not have: fakes of their interfaces."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

from tests.tools.conftest import Execute, Result


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


def local(port: int) -> str:
    return f"http://127.0.0.1:{port}"


class FakeApi:
    """A fake: answers each path with one JSON document or text, and records the requests."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.requests: list[tuple[str, dict[str, list[str]], dict[str, str]]] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                headers = {name.lower(): value for name, value in self.headers.items()}
                outer.requests.append((parts.path, parse_qs(parts.query), headers))
                answer = answers.get(parts.path)
                status, document = answer if isinstance(answer, tuple) else (200, answer)
                body = document if isinstance(document, str) else json.dumps(document)
                self.send_response(status if answer is not None else 404)
                kind = "text/plain" if isinstance(document, str) else "application/json"
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body.encode())))
                self.end_headers()
                self.wfile.write(body.encode())

            def log_message(self, *_: Any) -> None:
                """Quiet."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = local(self.server.server_address[1])


@contextmanager
def fake_api(answers: dict[str, Any]) -> Iterator[FakeApi]:
    fake = FakeApi(answers)
    thread = threading.Thread(target=fake.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield fake
    finally:
        fake.server.shutdown()
        fake.server.server_close()
        thread.join(10)


START_US = 1_795_161_600_000_000

JAEGER_TRACE = {
    "traceID": "4bf92f3577b34da6a3ce929d0e0e4736",
    "spans": [
        {
            "traceID": "4bf92f3577b34da6a3ce929d0e0e4736",
            "spanID": "a1", "operationName": "GET /orders", "references": [],
            "startTime": START_US, "duration": 612_500, "processID": "p1", "logs": [],
            "tags": [{"key": "error", "type": "bool", "value": True}],
        },
        {
            "traceID": "4bf92f3577b34da6a3ce929d0e0e4736",
            "spanID": "a2", "operationName": "SELECT",
            "references": [{"refType": "CHILD_OF", "spanID": "a1"}],
            "startTime": START_US + 1_000, "duration": 500_000, "processID": "p2", "tags": [],
        },
    ],
    "processes": {"p1": {"serviceName": "checkout"}, "p2": {"serviceName": "stock"}},
}  # fmt: skip

ZIPKIN_TRACE = [
    {
        "traceId": "4bf92f3577b34da6", "id": "a1", "name": "get /orders", "kind": "SERVER",
        "timestamp": START_US, "duration": 612_500, "tags": {"error": "500"},
        "localEndpoint": {"serviceName": "checkout"},
    },
    {
        "traceId": "4bf92f3577b34da6", "id": "a2", "parentId": "a1", "name": "select",
        "timestamp": START_US + 1_000, "duration": 500_000,
        "localEndpoint": {"serviceName": "stock"},
    },
]  # fmt: skip

SUMMARY = {
    "spans": 2,
    "services": ["checkout", "stock"],
    "started_at": "2026-11-20T08:00:00.000+00:00",
    "duration_ms": 612.5,
    "errors": 1,
}


def test_jaeger_recorded(execute: Execute) -> None:
    answers = {
        "/api/services": {"data": ["checkout", "stock"], "total": 2, "errors": None},
        "/api/traces": {"data": [JAEGER_TRACE], "total": 0, "errors": None},
        "/api/dependencies": {
            "data": [{"parent": "checkout", "child": "stock", "callCount": 4}], "errors": None
        },
    }  # fmt: skip
    with fake_api(answers) as jaeger:
        here = {"url": jaeger.url, "token": "canary-token"}
        assert succeeded(execute("jaeger", here))["items"] == ["checkout", "stock"]
        find = {**here, "operation": "traces", "service": "checkout", "tags": {"error": "true"}}
        output = succeeded(execute("jaeger", {**find, "min_duration": "500ms"}))
        assert output["traces"] == [
            {"trace_id": JAEGER_TRACE["traceID"], "root": "GET /orders", **SUMMARY}
        ]
        path, query, headers = jaeger.requests[-1]
        assert (path, query["service"], query["minDuration"], query["limit"]) == (
            "/api/traces", ["checkout"], ["500ms"], ["20"],
        )  # fmt: skip
        assert json.loads(query["tags"][0]) == {"error": "true"}
        assert headers["authorization"] == "Bearer canary-token"
        gone = {**here, "operation": "trace", "trace_id": "0" * 32}
        assert execute("jaeger", gone).error_class == "http_status"
        near = succeeded(execute("jaeger", {**here, "operation": "dependencies"}))
        assert near["items"][0]["callCount"] == 4


def test_zipkin_recorded(execute: Execute) -> None:
    answers = {
        "/api/v2/services": ["checkout", "stock"],
        "/api/v2/traces": [ZIPKIN_TRACE],
        "/api/v2/trace/4bf92f3577b34da6": ZIPKIN_TRACE,
        "/health": {"status": "UP", "zipkin": {"status": "UP"}},
    }
    with fake_api(answers) as zipkin:
        here = {"url": zipkin.url, "username": "reader", "password": "canary-password"}
        assert succeeded(execute("zipkin", here))["items"] == ["checkout", "stock"]
        find = {**here, "operation": "traces", "service": "checkout"}
        output = succeeded(execute("zipkin", {**find, "annotation_query": "error and a=b&c"}))
        want = {"trace_id": "4bf92f3577b34da6", "root": "get /orders", **SUMMARY}
        assert output["traces"] == [want]
        _, query, headers = zipkin.requests[-1]
        assert query["annotationQuery"] == ["error and a=b&c"]
        assert query["serviceName"] == ["checkout"]
        assert headers["authorization"].startswith("Basic ")
        one = {**here, "operation": "trace", "trace_id": "4bf92f3577b34da6"}
        assert succeeded(execute("zipkin", one))["traces"] == [want]
        health = succeeded(execute("zipkin", {**here, "operation": "health"}))
        assert health["data"]["status"] == "UP"


def test_fluentd_recorded(execute: Execute) -> None:
    plugins = [
        {"plugin_id": "in_tail", "plugin_category": "input", "type": "tail",
         "output_plugin": False, "retry_count": None},
        {"plugin_id": "out_main", "plugin_category": "output", "type": "forward",
         "output_plugin": True, "buffer_queue_length": 3, "buffer_total_queued_size": 40_960,
         "retry_count": 2},
    ]  # fmt: skip
    config = {"pid": 7, "ppid": 1, "config_path": "/etc/fluent/fluent.conf"}
    answers = {"/api/plugins.json": {"plugins": plugins}, "/api/config.json": config}
    with fake_api(answers) as fluentd:
        asked = {"url": fluentd.url, "plugin_type": "forward", "debug": True}
        output = succeeded(execute("fluentd", asked))
        assert (output["count"], output["retrying"]) == (2, ["out_main"])
        assert fluentd.requests[-1][1] == {"@type": ["forward"], "debug": ["1"]}
        output = succeeded(execute("fluentd", {"url": fluentd.url, "operation": "config"}))
        assert output["data"]["config_path"] == "/etc/fluent/fluent.conf"


def test_telegraf_recorded(execute: Execute) -> None:
    text = (
        "# HELP cpu_usage_idle Telegraf collected metric\n# TYPE cpu_usage_idle untyped\n"
        'cpu_usage_idle{cpu="cpu-total",host="web-01"} 97.5\n'
    )
    answers: dict[str, Any] = {"/": "OK", "/metrics": text}
    with fake_api(answers) as telegraf:
        assert succeeded(execute("telegraf", {"url": telegraf.url}))["healthy"] is True
        answers["/"] = (503, "Service Unavailable")
        sick = succeeded(execute("telegraf", {"url": telegraf.url}))
        assert (sick["status"], sick["healthy"]) == (503, False)
        output = succeeded(execute("telegraf", {"url": telegraf.url, "operation": "metrics"}))
        labels = {"cpu": "cpu-total", "host": "web-01"}
        assert output["metrics"] == [{"name": "cpu_usage_idle", "labels": labels, "value": 97.5}]
        answers.clear()
        missing = execute("telegraf", {"url": telegraf.url, "operation": "metrics"})
        assert missing.error_class == "http_status"
