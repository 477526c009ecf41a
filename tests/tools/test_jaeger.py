"""The jaeger tool at a real Jaeger, built from Go's modules: what was reported is found again."""

from __future__ import annotations

import json
import time
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

from tests.tools.conftest import Execute
from tests.tools.jaegers import jaeger_server
from tests.tools.running import until

pytestmark = pytest.mark.timeout(300)

_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
_OTHER = "5bf92f3577b34da6a3ce929d0e0e4737"


@pytest.fixture(scope="module")
def jaeger(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Where it answers and where it takes spans of OpenTelemetry; everything is in memory."""
    with jaeger_server(tmp_path_factory.mktemp("jaeger") / "log") as made:
        yield made


def _report(taking: str, service: str, *spans: dict[str, Any]) -> None:
    """Spans of one service, as OTLP over HTTP has them in JSON."""
    resource = {"attributes": [{"key": "service.name", "value": {"stringValue": service}}]}
    body = {"resourceSpans": [{"resource": resource, "scopeSpans": [{"spans": list(spans)}]}]}
    request = urllib.request.Request(
        f"{taking}/v1/traces", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def _span(name: str, ident: str, start_us: int, duration_us: int, **more: Any) -> dict[str, Any]:
    return {
        "traceId": _TRACE,
        "spanId": ident,
        "name": name,
        "kind": 2,
        "startTimeUnixNano": str(start_us * 1_000),
        "endTimeUnixNano": str((start_us + duration_us) * 1_000),
        **more,
    }


def test_traces_are_found_as_they_were_reported(execute: Execute, jaeger: tuple[str, str]) -> None:
    url, taking = jaeger
    begun = int(time.time() * 1_000_000) - 60_000_000
    tags = [{"key": "customer", "value": {"stringValue": "a b&c=ü"}}]
    failed = {"status": {"code": 2}, "attributes": tags}
    root = _span("GET /orders", "00f067aa0ba902b7", begun, 612_500, **failed)
    child = _span("SELECT", "1f067aa0ba902b70", begun + 1_000, 500_000, parentSpanId=root["spanId"])
    quick = _span("GET /health", "2f067aa0ba902b71", begun + 5_000_000, 1_000, traceId=_OTHER)
    _report(taking, "checkout", root, quick)
    _report(taking, "stock", child)

    def told(**parameters: Any) -> dict[str, Any]:
        result = execute("jaeger", {"url": url, **parameters})
        assert result.status == "succeeded", result
        return result.output

    def found(**parameters: Any) -> list[str]:
        traces = told(operation="traces", service="checkout", **parameters)["traces"]
        return sorted(trace["trace_id"] for trace in traces)

    until(lambda: told()["items"] == ["checkout", "stock"], "both services are known")
    operations = told(operation="operations", service="checkout")["items"]
    assert sorted((item["name"], item["spanKind"]) for item in operations) == [
        ("GET /health", "server"),
        ("GET /orders", "server"),
    ]
    (one,) = told(operation="trace", trace_id=_TRACE)["traces"]
    assert (one["trace_id"], one["root"]) == (_TRACE, "GET /orders")
    assert (one["services"], one["spans"], one["errors"]) == (["checkout", "stock"], 2, 1)
    assert one["duration_ms"] == 612.5
    assert found() == [_TRACE, _OTHER]
    assert found(span_operation="GET /health") == [_OTHER]
    assert found(tags={"customer": "a b&c=ü", "error": "true"}) == [_TRACE]
    assert found(min_duration="500ms") == [_TRACE]
    assert found(max_duration="2ms") == [_OTHER]
    assert found(start_us=begun + 1_000_000, end_us=begun + 9_000_000) == [_OTHER]
    assert len(found(limit=1)) == 1
    assert found(tags={"customer": "nobody"}) == []
    until(
        lambda: told(operation="dependencies", end_ms=int(time.time() * 1_000))["count"] == 1,
        "the dependency is there",
    )
    (pair,) = told(operation="dependencies", end_ms=int(time.time() * 1_000))["items"]
    assert (pair["parent"], pair["child"], pair["callCount"]) == ("checkout", "stock", 1)

    gone = execute("jaeger", {"url": url, "operation": "trace", "trace_id": "0" * 31 + "1"})
    assert (gone.status, gone.error_class) == ("failed", "http_status")
    away = execute("jaeger", {"url": "http://127.0.0.1:1"})
    assert away.error_class == "connection_refused"
