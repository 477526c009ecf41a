"""Metrics in the Prometheus text format, and responses of Prometheus' own API."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import orjson
from prometheus_client.parser import text_string_to_metric_families


def metrics(text: str) -> dict[str, Any]:
    """Every sample; those without labels also by name."""
    samples = [
        {"name": sample.name, "labels": dict(sample.labels), "value": _number(sample.value)}
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    ]
    plain = {item["name"]: item["value"] for item in samples if not item["labels"]}
    return {"metrics": samples, "count": len(samples), "values": plain}


def probe(text: str) -> dict[str, Any]:
    """The metrics of a probe and their meaning; a health response is text."""
    if "# TYPE" not in text:
        return {"text": text.strip()}
    output = metrics(text)
    values = output["values"]
    if "probe_success" in values:
        output["success"] = values["probe_success"] == 1
        output["duration_seconds"] = values.get("probe_duration_seconds", 0.0)
    if values.get("probe_http_status_code"):
        output["http_status"] = int(values["probe_http_status_code"])
    expires = values.get("probe_ssl_earliest_cert_expiry")
    if isinstance(expires, float) and expires > 0:
        output["certificate_expires_at"] = _moment(expires)
    return output


def telegraf(text: str) -> dict[str, Any]:
    """The metrics of outputs.prometheus_client, or the text of outputs.health."""
    word = text.strip().lower()
    if word in ("ok", "healthy") or "service unavailable" in word or "unhealthy" in word:
        return {"healthy": word in ("ok", "healthy")}
    return metrics(text)


def prometheus(text: str) -> dict[str, Any]:
    """The data of a response of the HTTP API by its type; a health response is text."""
    if not text.lstrip().startswith("{"):
        return {"text": text.strip()}
    answer = orjson.loads(text)
    output: dict[str, Any] = {}
    if answer.get("warnings"):
        output["warnings"] = answer["warnings"]
    data = answer.get("data")
    if isinstance(data, list):
        return {**output, "items": data, "count": len(data)}
    if not isinstance(data, dict):
        raise ValueError(f"status {answer.get('status')!r} without data")
    if "resultType" in data:
        return {**output, **_result(data["resultType"], data["result"])}
    if "activeTargets" in data:
        return {**output, **_targets(data)}
    if set(data) == {"alerts"}:
        alerts = data["alerts"]
        firing = sum(item.get("state") == "firing" for item in alerts)
        return {**output, "alerts": alerts, "count": len(alerts), "firing": firing}
    if set(data) == {"groups"}:
        return {**output, "groups": data["groups"], "count": len(data["groups"])}
    return {**output, "data": data}


def _result(kind: str, result: Any) -> dict[str, Any]:
    if kind in ("scalar", "string"):
        series = [{"labels": {}, **_point(result)}]
    elif kind == "vector":
        series = [{"labels": item["metric"], **_point(item["value"])} for item in result]
    else:
        series = [
            {"labels": item["metric"], "values": [_point(value) for value in item["values"]]}
            for item in result
        ]
    output: dict[str, Any] = {"result_type": kind, "result": series, "count": len(series)}
    if len(series) == 1 and "value" in series[0]:
        output["value"] = series[0]["value"]
    return output


def _targets(data: dict[str, Any]) -> dict[str, Any]:
    targets = [
        {
            "job": item["labels"].get("job"),
            "instance": item["labels"].get("instance"),
            "health": item.get("health"),
            "scrape_url": item.get("scrapeUrl"),
            "last_scrape": item.get("lastScrape"),
            "last_error": item.get("lastError"),
        }
        for item in data["activeTargets"] or ()
    ]
    down = sum(item["health"] == "down" for item in targets)
    return {"targets": targets, "count": len(targets), "down": down}


def _point(pair: list[Any]) -> dict[str, Any]:
    return {"value": _text_number(pair[1]), "at": _moment(float(pair[0]))}


def _text_number(text: str) -> float | str:
    try:
        return _number(float(text))
    except ValueError:
        return text


def _number(value: float) -> float | str:
    # JSON has neither NaN nor infinity.
    return value if math.isfinite(value) else str(value)


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
