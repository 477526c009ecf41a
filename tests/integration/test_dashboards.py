"""What Prometheus reads of a running stack answers every query of the dashboards and the alerts."""

from __future__ import annotations

import json
import re
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode
from urllib.request import urlopen

import orjson
import pytest
import yaml

from deploy.grafana.build import DASHBOARDS
from deploy.grafana.panels import Query
from devstack.ports import free_port
from tests.api_kit import ApiServer
from tests.harness import Harness
from tests.tools.running import listens, program, server

PROMETHEUS = Path(__file__).parents[2] / "deploy" / "prometheus"
OURS = ("router", "executor-tools", "executor-test", "sink", "projector")
QUERIES = [
    pytest.param(query, id=f"{dashboard.uid}: {panel.title} {number}")
    for dashboard in DASHBOARDS
    for _, panels in dashboard.rows
    for panel in panels
    for number, query in enumerate(panel.queries)
]


@pytest.fixture
def prometheus(harness: Harness, api: ApiServer, tmp_path: Path) -> Iterator[str]:
    """Prometheus with the example's configuration, for the ports of this stack."""
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text())
    targets = [f"127.0.0.1:{harness.stack.process(name).http_port}" for name in OURS]
    targets.append(api.health_url.removeprefix("http://"))
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(PROMETHEUS / "alerts.yaml")]
    config["scrape_configs"][0]["static_configs"] = [{"targets": targets}]
    (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
    port = free_port()
    argv = [
        program("prometheus", "prometheus"),
        f"--config.file={tmp_path / 'prometheus.yml'}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with server(argv, lambda: listens(port) and is_ready(port), tmp_path / "log"):
        yield f"http://127.0.0.1:{port}"


def is_ready(port: int) -> bool:
    """Whether it answers queries: it listens before it has read what it stored."""
    try:
        with urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=10) as answer:
            return bool(answer.status == 200)
    except HTTPError:
        return False


def asked(address: str, path: str, **parameters: str) -> Any:
    with urlopen(f"{address}/api/v1/{path}?{urlencode(parameters)}", timeout=10) as answer:
        found = json.load(answer)
    assert found["status"] == "success", found
    return found["data"]


def series(address: str, query: Query) -> int:
    expr = query.expr.replace("$__rate_interval", "5m")
    return len(asked(address, "query", query=expr)["result"])


def work(harness: Harness) -> None:
    """Something of everything: successes, items, failures, retries, an approval, poison."""
    keys = harness.submit(3, [{"tool": "noop"}, {"tool": "df", "parameters": {"path": "/"}}])
    keys |= harness.submit(
        1, [{"tool": "change", "for_each": ["a", "b"], "assets": ["{{ item }}"]}]
    )
    keys |= harness.submit(
        1, [{"tool": "fail", "retry": {"max_attempts": 2, "backoff_seconds": 0.1}}]
    )
    harness.produce(b"not json")
    keys |= harness.submit(1, [{"tool": "noop", "timeout_seconds": 1}], sla_class="medium")
    waiting = uuid.uuid4().hex
    plan = {"steps": [{"tool": "noop"}], "approval_level": 1}
    harness.produce(orjson.dumps({"idempotency_key": waiting, "plan": plan}))
    harness.flush()
    deadline = time.monotonic() + 60
    while waiting not in harness.ids_of({waiting}):
        harness.read()
        assert time.monotonic() < deadline
    harness.control("reject", harness.ids_of({waiting})[waiting])
    harness.wait_ended(keys | {waiting})


@pytest.mark.timeout(240)
def test_every_panel_and_rule_has_something_to_say_of_a_running_stack(
    harness: Harness, prometheus: str
) -> None:
    # What is counted for the first time is an increase only after it was seen at 0.
    until_scraped(prometheus)
    work(harness)
    waiting = {str(param.id): param.values[0] for param in QUERIES}
    deadline = time.monotonic() + 90
    while waiting:
        for name, query in list(waiting.items()):
            assert isinstance(query, Query)
            if series(prometheus, query):
                del waiting[name]
        assert time.monotonic() < deadline, f"no series for {waiting}"
        time.sleep(0.5 if waiting else 0)
    for group in asked(prometheus, "rules")["groups"]:
        for rule in group["rules"]:
            assert rule["health"] == "ok", rule
    for target in asked(prometheus, "targets")["activeTargets"]:
        assert target["health"] == "up", target


def until_scraped(address: str) -> None:
    deadline = time.monotonic() + 60
    while len(asked(address, "query", query="runstream_build_info")["result"]) <= len(OURS):
        assert time.monotonic() < deadline, asked(address, "targets")
        time.sleep(0.2)


def test_what_every_process_shows_follows_the_conventions(harness: Harness) -> None:
    promtool = program("promtool", "prometheus")
    for name in OURS:
        port = harness.stack.process(name).http_port
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
            shown = answer.read()
        checked = subprocess.run([promtool, "check", "metrics"], input=shown, capture_output=True)
        assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b""), name
        # No id of an execution or a record is in a label: each would be a series of its own.
        assert not re.search(rb"[0-9a-f]{8}-[0-9a-f]{4}-", shown), name
        assert len(shown) < 1_000_000
