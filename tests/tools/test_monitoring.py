"""Monitoring by the daemons and programs of Debian, run through the whole system."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from devstack.ports import free_port
from tests.tools.conftest import Execute, Result
from tests.tools.running import listens, program, server, until


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
    until(lambda: ask("query", query="up == 1")["count"] == 1, "the other target was scraped")
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

    form = "%Y-%m-%dT%H:%M:%SZ"
    begun = (datetime.now(UTC) - timedelta(minutes=7)).strftime(form)
    ends = (datetime.now(UTC) + timedelta(hours=1)).strftime(form)
    labels = {"alertname": "DiskFull", "severity": "critical", "instance": "web-01:9100"}
    ask("post_alert", labels=labels, starts_at=begun, ends_at=ends)
    until(lambda: ask("alerts")["count"] == 1, "the alert is there")
    assert ask("alerts")["items"][0]["startsAt"] == begun.replace("Z", ".000Z")
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
