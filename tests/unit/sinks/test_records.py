"""From bytes to rows, or to a reason."""

from __future__ import annotations

import orjson
import pytest

from sinks.records import EventRow, OutputRow, Unreadable, read_event, read_output
from streams.escape import visible_tree
from streams.payloads import Accepted, Unknown
from tests.unit.sinks.stories import Story

GOOD = Story().values[0]


def test_a_good_event_is_read() -> None:
    row = read_event(GOOD, [("ce_type", b"runstream.execution.accepted.v1")])
    assert isinstance(row, EventRow)
    assert row.event_id == f"{row.event.execution_id}:1"
    assert row.event.at == "2026-11-20T07:00:00Z"
    assert isinstance(row.event.data, Accepted)


@pytest.mark.parametrize(
    ("value", "error_class"),
    [
        (None, "not_json"),
        (b"", "not_json"),
        (b"\xff\xfe{", "not_json"),
        (b"\xef\xbb\xbf" + GOOD, "not_json"),
        (b"[" * 100_000, "not_json"),
        (b"[]", "invalid"),
        (b'"text"', "invalid"),
        (GOOD[:-1], "not_json"),
        (GOOD.replace(b'"priority":1', b'"priority":NaN'), "not_json"),
        (GOOD.replace(b'"priority":1', b'"priority":1e400'), "not_json"),
        (GOOD.replace(b'"name":"a plan"', b'"name":"\\ud800"'), "not_json"),
        (GOOD.replace(b'"seq":1', b'"seq":0'), "invalid"),
        (GOOD.replace(b'"seq":1', b'"seq":99999999999999999999'), "invalid"),
        (GOOD.replace(b"2026-11-20T07:00:00Z", b"2026-11-20T07:00:00"), "invalid"),
        (GOOD.replace(b"2026-11-20T07:00:00Z", b"infinity"), "invalid"),
        (GOOD.replace(b'"tenant":"acme",', b""), "invalid"),
        (GOOD.replace(b'"plan":{', b'"plan":1,"x":{'), "invalid"),
        (GOOD.replace(b'"name":"a plan"', b'"name":{}'), "invalid"),
    ],
)
def test_poison_is_told_apart(value: bytes | None, error_class: str) -> None:
    found = read_event(value, None)
    assert isinstance(found, Unreadable)
    assert found.error_class == error_class
    assert len(found.message) < 300


def test_a_refusal_quotes_no_value() -> None:
    found = read_event(GOOD.replace(b'"seq":1', b'"seq":"hunter2"'), None)
    assert isinstance(found, Unreadable)
    assert "hunter2" not in found.message and "seq" in found.message


@pytest.mark.parametrize("kind", [b"runstream.x.v2", b"runstream.x.v17"])
def test_a_newer_major_version_is_parked(kind: bytes) -> None:
    found = read_event(GOOD, [("ce_type", kind)])
    assert isinstance(found, Unreadable)
    assert found.error_class == "unknown_version"


@pytest.mark.parametrize("kind", [b"\xff\xfe", b"", b"runstream.x", b"runstream.x.v1"])
def test_other_headers_do_no_harm(kind: bytes) -> None:
    assert isinstance(read_event(GOOD, [("ce_type", kind), ("traceparent", b"\xff")]), EventRow)


def test_unknown_fields_are_kept_and_unknown_types_are_stored() -> None:
    row = read_event(GOOD.replace(b'"priority":1', b'"priority":1,"later":{"a":1}'), None)
    assert isinstance(row, EventRow)
    assert orjson.loads(row.data_json)["later"] == {"a": 1}
    row = read_event(GOOD.replace(b"execution.accepted", b"execution.invented"), None)
    assert isinstance(row, EventRow)
    assert isinstance(row.event.data, Unknown)


def test_nul_becomes_visible_wherever_it_is() -> None:
    row = read_event(GOOD.replace(b"a plan", b"a\\u0000plan"), None)
    assert isinstance(row, EventRow)
    assert isinstance(row.event.data, Accepted)
    assert row.event.data.name == "a\\u0000plan"
    assert "\x00" not in row.data_json and "\\\\u0000" in row.data_json
    tree = {"k\x00": ["\x00", {"a": "b"}], "n": 1}
    assert visible_tree(tree) == {"k\\u0000": ["\\u0000", {"a": "b"}], "n": 1}


def test_output_has_the_brokers_time() -> None:
    value = (
        b'{"execution_id":"' + Story().id.encode() + b'","step":"s0","attempt":1,'
        b'"stream":"stdout","index":3,"offset":70,"text":"hi","tenant":"acme"}'
    )
    row = read_output(value, None, 1_795_158_000_123)
    assert isinstance(row, OutputRow)
    assert row[4:] == (3, 70, "acme", "hi", "2026-11-20T07:00:00.123+00:00")
    assert isinstance(read_output(value.replace(b"stdout", b"stdin"), None, 0), Unreadable)
