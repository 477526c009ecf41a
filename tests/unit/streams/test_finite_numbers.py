"""No number that a reader gets from an event is NaN or infinite, however it was spelled."""

from __future__ import annotations

from typing import Any, get_type_hints

import orjson
import pytest
from pydantic import ValidationError

from console.follow import parse
from sinks.records import Unreadable, read_event
from streams.admitted import decode_plan
from streams.events import decode_event, payload_adapter
from streams.payloads import EVENT_TYPES
from streams.progress import ProgressSnapshot

FLOATS = sorted(
    (kind, name)
    for kind, payload in EVENT_TYPES.items()
    for name, hint in get_type_hints(payload).items()
    if hint in (float, float | None)
)
NOT_FINITE: list[Any] = ["nan", "NaN", "inf", "-Infinity", float("nan"), float("inf")]
STEP = {
    "id": "a",
    "tool": "ping",
    "domain": "network",
    "parameters": {},
    "timeout_seconds": 30.0,
    "lease_seconds": 30.0,
    "max_attempts": 1,
    "backoff_seconds": 1.0,
    "max_backoff_seconds": 60.0,
    "retry_safe": True,
}


def record(kind: str, data: str) -> bytes:
    """An event whose payload is this JSON text."""
    head = {
        "execution_id": "0190d3a0-0000-7000-8000-000000000001",
        "seq": 1,
        "type": kind,
        "at": "2026-11-20T07:00:00.000Z",
        "tenant": "default",
        "step": "a",
        "attempt": 1,
    }
    return orjson.dumps(head)[:-1] + b',"data":' + data.encode() + b"}"


def wrong_places(kind: str, data: Any) -> list[tuple[int | str, ...]]:
    """Where the payload's reader finds faults."""
    with pytest.raises(ValidationError) as raised:
        payload_adapter(kind).validate_python(data)
    return [fault["loc"] for fault in raised.value.errors()]


def test_the_payloads_have_float_fields() -> None:
    assert ("step.progress", "percent") in FLOATS
    assert ("execution.accepted", "timeout_seconds") in FLOATS


@pytest.mark.parametrize("value", NOT_FINITE, ids=repr)
@pytest.mark.parametrize(("kind", "name"), FLOATS)
def test_a_payload_refuses_what_is_not_finite(kind: str, name: str, value: Any) -> None:
    places = wrong_places(kind, {name: value})
    assert any(place[0] == name for place in places), places


@pytest.mark.parametrize(
    "name", ["timeout_seconds", "lease_seconds", "backoff_seconds", "max_backoff_seconds"]
)
def test_a_plan_refuses_what_is_not_finite(name: str) -> None:
    assert decode_plan({"name": None, "steps": [STEP]}).steps[0].tool == "ping"
    with pytest.raises(ValidationError):
        decode_plan({"name": None, "steps": [{**STEP, name: "nan"}]})


@pytest.mark.parametrize(
    ("kind", "data"),
    [
        ("step.progress", '{"percent": "nan"}'),
        ("step.progress", '{"percent": NaN}'),
        ("step.progress", '{"percent": 1e999}'),
        ("step.succeeded", '{"duration_seconds": 1, "output": {"load": NaN}}'),
        ("step.succeeded", '{"duration_seconds": 1, "output": {"load": -Infinity}}'),
        ("step.succeeded", '{"duration_seconds": 1, "output": {"load": 1e999}}'),
        ("step.of_a_later_version", '{"load": NaN}'),
    ],
)
def test_every_reader_of_events_refuses_such_an_event(kind: str, data: str) -> None:
    value = record(kind, data)
    with pytest.raises(ValueError):
        decode_event(value)
    assert parse(value) is None
    assert isinstance(read_event(value, None), Unreadable)


@pytest.mark.parametrize("name", ["percent", "elapsed_seconds"])
def test_a_snapshot_refuses_what_is_not_finite(name: str) -> None:
    with pytest.raises(ValidationError) as raised:
        ProgressSnapshot.model_validate({name: "nan"})
    assert (name,) in [fault["loc"] for fault in raised.value.errors()]
