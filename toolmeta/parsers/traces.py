"""Traces of Jaeger (its UI's JSON) and Zipkin (API version 2) in one shape."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson


def jaeger(text: str) -> dict[str, Any]:
    """Traces, or the names of services and operations, or the dependencies."""
    data = orjson.loads(text).get("data") or []
    if not data:
        return _nothing()
    if isinstance(data[0], dict) and "spans" in data[0]:
        traces = [_jaeger_trace(item) for item in data]
        return {"traces": traces, "count": len(traces)}
    return {"items": data, "count": len(data)}


def _jaeger_trace(trace: dict[str, Any]) -> dict[str, Any]:
    names = {key: item.get("serviceName") for key, item in trace.get("processes", {}).items()}
    spans = [
        {
            "id": span.get("spanID"),
            "parents": [item.get("spanID") for item in span.get("references") or ()],
            "service": names.get(span.get("processID")),
            "name": span.get("operationName"),
            "start_us": span.get("startTime", 0),
            "duration_us": span.get("duration", 0),
            "error": any(
                tag.get("key") == "error" and str(tag.get("value")).lower() == "true"
                for tag in span.get("tags") or ()
            ),
        }
        for span in trace["spans"]
    ]
    return _trace(trace.get("traceID", ""), spans)


def zipkin(text: str) -> dict[str, Any]:
    """Traces, or the names of services and spans, or the dependencies, or the health."""
    data = orjson.loads(text)
    if isinstance(data, dict):
        return {"data": data}
    if not data:
        return _nothing()
    if isinstance(data[0], dict) and "traceId" in data[0]:
        data = [data]
    if isinstance(data[0], list):
        traces = [_zipkin_trace(spans) for spans in data if spans]
        return {"traces": traces, "count": len(traces)}
    return {"items": data, "count": len(data)}


def _zipkin_trace(found: list[dict[str, Any]]) -> dict[str, Any]:
    spans = [
        {
            "id": span.get("id"),
            "parents": [span["parentId"]] if span.get("parentId") else [],
            "service": (span.get("localEndpoint") or {}).get("serviceName"),
            "name": span.get("name"),
            "start_us": span.get("timestamp", 0),
            "duration_us": span.get("duration", 0),
            "error": "error" in (span.get("tags") or {}),
        }
        for span in found
    ]
    return _trace(found[0].get("traceId", ""), spans)


def _nothing() -> dict[str, Any]:
    """An empty list, which does not say of what: a later step finds what was asked for."""
    return {"traces": [], "items": [], "count": 0}


def _trace(ident: str, spans: list[dict[str, Any]]) -> dict[str, Any]:
    timed = [span for span in spans if span["start_us"]]
    begin = min((span["start_us"] for span in timed), default=0)
    end = max((span["start_us"] + span["duration_us"] for span in timed), default=0)
    known = {span["id"] for span in spans}
    root = next((span for span in spans if not known.intersection(span["parents"])), None)
    moment = datetime.fromtimestamp(begin / 1e6, UTC) if begin else None
    return {
        "trace_id": ident,
        "spans": len(spans),
        "services": sorted({span["service"] for span in spans if span["service"]}),
        "root": root["name"] if root else None,
        "started_at": moment.isoformat(timespec="milliseconds") if moment else None,
        "duration_ms": round((end - begin) / 1_000, 3),
        "errors": sum(span["error"] for span in spans),
    }
