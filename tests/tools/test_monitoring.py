"""Monitoring, run through the whole system: Debian's daemons, and fakes of those that it lacks."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from tests.tools.conftest import Execute, Result
from tests.tools.running import free_port, listens, program, server, until


def succeeded(result: Result) -> dict[str, Any]:
    assert result.status == "succeeded", result
    return result.output


def local(port: int) -> str:
    return f"http://127.0.0.1:{port}"


# Prometheus and its family


@pytest.fixture(scope="module")
def node_exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    daemon = program("prometheus-node-exporter", "prometheus-node-exporter")
    port = free_port()
    argv = [daemon, f"--web.listen-address=127.0.0.1:{port}"]
    with server(argv, lambda: listens(port), tmp_path_factory.mktemp("node") / "log"):
        yield port


@pytest.fixture(scope="module")
def alertmanager(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    daemon = program("prometheus-alertmanager", "prometheus-alertmanager")
    folder = Path(tmp_path_factory.mktemp("alertmanager"))
    (folder / "config.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = free_port()
    argv = [
        daemon,
        *(f"--config.file={folder / 'config.yml'}", f"--storage.path={folder / 'data'}"),
        *(f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="),
    ]
    with server(argv, lambda: listens(port), folder / "log"):
        yield port


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory, node_exporter: int) -> Iterator[int]:
    """A server that scrapes the node exporter, and one target that is down."""
    daemon = program("prometheus", "prometheus")
    folder = Path(tmp_path_factory.mktemp("prometheus"))
    targets = [f"127.0.0.1:{node_exporter}", "127.0.0.1:1"]
    (folder / "config.yml").write_text(
        json.dumps(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(folder / "rules.yml")],
                "scrape_configs": [{"job_name": "node", "static_configs": [{"targets": targets}]}],
            }
        )
    )
    rule = {"alert": "Down", "expr": "up == 0", "labels": {"severity": "critical"}}
    (folder / "rules.yml").write_text(json.dumps({"groups": [{"name": "basic", "rules": [rule]}]}))
    port = free_port()
    argv = [
        daemon,
        *(f"--config.file={folder / 'config.yml'}", f"--storage.tsdb.path={folder / 'data'}"),
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with server(argv, lambda: listens(port), folder / "log"):
        yield port


def test_prometheus(execute: Execute, prometheus: int, node_exporter: int) -> None:
    def ask(operation: str, **more: Any) -> dict[str, Any]:
        return succeeded(
            execute("prometheus", {"url": local(prometheus), "operation": operation, **more})
        )

    until(lambda: ask("alerts")["firing"] == 1, "the alert fires")
    up = ask("query", query='up{instance=~".*:1"}')
    assert (up["result_type"], up["count"], up["value"]) == ("vector", 1, 0.0)
    assert up["result"][0]["labels"]["job"] == "node"
    now = datetime.now(UTC)
    times = {
        "start": (now - timedelta(minutes=2)).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "end": (now + timedelta(minutes=1)).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }
    ranged = ask("query_range", query="up", step_seconds=1, **times)
    assert ranged["result_type"] == "matrix"
    assert {point["value"] for item in ranged["result"] for point in item["values"]} == {0.0, 1.0}
    targets = ask("targets")
    assert (targets["count"], targets["down"]) == (2, 1)
    assert {item["health"] for item in targets["targets"]} == {"up", "down"}
    assert ask("rules")["groups"][0]["rules"][0]["name"] == "Down"
    assert "node" in ask("label_values", label="job")["items"]
    assert ask("series", matches="up")["count"] == 2
    assert ask("config")["data"]["yaml"]
    assert "Healthy" in ask("health")["text"]
    wrong = execute("prometheus", {"url": local(prometheus), "query": "up{"})
    assert wrong.error_class == "http_status"
    assert wrong.output["json"]["errorType"] == "bad_data"


def test_prometheus_faults_have_classes(execute: Execute) -> None:
    away = execute("prometheus", {"url": local(1), "query": "up"})
    assert away.error_class == "connection_refused"
    far = execute("prometheus", {"url": "http://no-such-host.invalid:9090", "query": "up"})
    assert far.error_class == "unreachable"


def test_alertmanager(execute: Execute, alertmanager: int) -> None:
    def ask(operation: str, **more: Any) -> dict[str, Any]:
        return succeeded(
            execute("alertmanager", {"url": local(alertmanager), "operation": operation, **more})
        )

    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    labels = {"alertname": "DiskFull", "severity": "critical", "instance": "web-01:9100"}
    ask("post_alert", labels=labels, ends_at=ends)
    until(lambda: ask("alerts")["count"] == 1, "the alert is there")
    assert ask("alerts", filters=['severity="info"'])["count"] == 0
    matchers = [{"name": "instance", "value": "web-01:9100", "isRegex": False, "isEqual": True}]
    made = ask("add_silence", matchers=matchers, ends_at=ends, comment="maintenance")
    silence = made["data"]["silenceID"]
    until(
        lambda: ask("alerts")["items"][0]["status"]["silencedBy"] == [silence],
        "the alert is silenced",
    )
    assert ask("silence", silence_id=silence)["data"]["comment"] == "maintenance"
    ask("expire_silence", silence_id=silence)
    assert ask("silences")["items"][0]["status"]["state"] == "expired"
    assert ask("receivers")["items"] == [{"name": "nobody"}]
    assert "versionInfo" in ask("server_status")["data"]
    assert ask("health")["text"]


def test_node_exporter(execute: Execute, node_exporter: int) -> None:
    everything = succeeded(execute("node_exporter", {"url": local(node_exporter)}))
    assert everything["values"]["node_memory_MemTotal_bytes"] > 0
    some = {"url": local(node_exporter), "collectors": ["loadavg", "uname"]}
    output = succeeded(execute("node_exporter", some))
    assert output["values"]["node_load1"] >= 0
    names = {item["name"] for item in output["metrics"]}
    assert "node_uname_info" in names
    assert "node_memory_MemTotal_bytes" not in names


def test_blackbox_exporter(execute: Execute, node_exporter: int, tmp_path: Path) -> None:
    daemon = program("prometheus-blackbox-exporter", "prometheus-blackbox-exporter")
    config = tmp_path / "config.yml"
    web = {"prober": "http", "timeout": "3s", "http": {"preferred_ip_protocol": "ip4"}}
    modules = {"http_2xx": web, "tcp_connect": {"prober": "tcp", "timeout": "3s"}}
    config.write_text(json.dumps({"modules": modules}))
    port = free_port()
    argv = [daemon, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{port}"]
    with server(argv, lambda: listens(port), tmp_path / "log"):
        here = {"url": local(port), "probe_target": f"{local(node_exporter)}/metrics"}
        good = succeeded(execute("blackbox_exporter", here))
        assert (good["success"], good["http_status"]) == (True, 200)
        assert good["duration_seconds"] > 0
        bad = succeeded(execute("blackbox_exporter", {**here, "probe_target": f"{local(1)}/"}))
        assert bad["success"] is False
        tcp = {**here, "module": "tcp_connect", "probe_target": f"127.0.0.1:{node_exporter}"}
        assert succeeded(execute("blackbox_exporter", tcp))["success"] is True
        gone = execute("blackbox_exporter", {**here, "module": "nothing"})
        assert gone.error_class == "http_status"


# Checks and one-shot programs


def test_rsyslog(execute: Execute, tmp_path: Path) -> None:
    program("rsyslogd", "rsyslog")
    path = tmp_path / "rsyslog.conf"
    path.write_text(f'module(load="imuxsock")\n*.* {tmp_path / "log"}\n')
    good = succeeded(execute("rsyslog", {"path": str(path)}))
    assert good["errors"] == []
    assert good["version"][0].isdigit()
    path.write_text('garbage("\n')
    bad = execute("rsyslog", {"path": str(path)})
    assert bad.error_class == "invalid_parameters"
    assert "on or before line 1" in bad.output["errors"][0]
    gone = execute("rsyslog", {"path": str(tmp_path / "gone")})
    assert gone.error_class == "not_found"
    assert succeeded(execute("rsyslog", {"operation": "version"}))["version"] == good["version"]


def test_collectd(execute: Execute, tmp_path: Path) -> None:
    program("collectd", "collectd-core")
    path = tmp_path / "collectd.conf"
    base = (
        f'BaseDir "{tmp_path}"\nPIDFile "{tmp_path / "pid"}"\nFQDNLookup false\n'
        'TypesDB "/usr/share/collectd/types.db"\nLoadPlugin load\nLoadPlugin csv\n'
        f'<Plugin csv>\nDataDir "{tmp_path / "csv"}"\n</Plugin>\n'
    )
    path.write_text(base)
    good = succeeded(execute("collectd", {"path": str(path)}))
    assert any("load" in line for line in good["messages"])
    path.write_text(base + "LoadPlugin no_such_plugin\n")
    bad = execute("collectd", {"path": str(path)})
    assert bad.error_class == "invalid_parameters"
    assert any("no_such_plugin" in line for line in bad.output["messages"])


def test_logrotate(execute: Execute, tmp_path: Path) -> None:
    program("logrotate", "logrotate")
    log, config = tmp_path / "app.log", tmp_path / "app.conf"
    log.write_text("one line\n")
    config.write_text(f"{log} {{\n  rotate 2\n  size 1\n  nocompress\n  create\n}}\n")
    config.chmod(0o644)
    tmp_path.chmod(0o755)
    where = {"path": str(config), "state": str(tmp_path / "state")}
    due = succeeded(execute("logrotate", where))
    assert due["rotated"] == [str(log)]
    assert log.read_text() == "one line\n"
    done = succeeded(execute("logrotate", {**where, "operation": "rotate"}))
    assert done["logs"] == [{"log": str(log), "rotates": True}]
    assert log.read_text() == ""
    assert Path(f"{log}.1").read_text() == "one line\n"
    again = succeeded(execute("logrotate", where))
    assert again["rotated"] == []
    gone = execute("logrotate", {**where, "path": str(tmp_path / "gone")})
    assert gone.error_class == "not_found"


# Fakes that answer as the published interfaces: no program of these is in Debian


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


def test_a_daemon_that_never_answers(execute: Execute) -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        begun = time.monotonic()
        url = local(silent.getsockname()[1])
        result = execute("node_exporter", {"url": url, "timeout_seconds": 0.5})
        assert result.error_class == "no_answer"
        assert time.monotonic() - begun < 30
