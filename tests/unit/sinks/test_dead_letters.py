"""What a dead letter looks like, and what the archive makes of it."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from runtime.kafka.dead_letters import (
    DROPPED,
    PREFIX,
    TRUNCATED,
    dead_letter,
    exhausted,
    fitting,
    hop_count,
    without_error,
)
from sinks.archive import KEPT_BYTES, read_dead_letter
from streams.envelope import HOPS


class FakeRecord:
    """A consumed record."""

    def __init__(self, value: bytes | None, headers: Any = None, key: bytes | None = b"k") -> None:
        self._value, self._headers, self._key = value, headers, key

    def topic(self) -> str:
        return "p.execution.events"

    def partition(self) -> int:
        return 3

    def offset(self) -> int:
        return 7

    def key(self) -> bytes | None:
        return self._key

    def value(self) -> bytes | None:
        return self._value

    def headers(self) -> Any:
        if isinstance(self._headers, Exception):
            raise self._headers
        return self._headers

    def timestamp(self) -> tuple[int, int]:
        return 2, 1_795_158_000_123


def letter(record: FakeRecord, text: str = "not JSON") -> Any:
    return dead_letter(
        "p.execution.events",
        record,
        error_class="not_json",
        message_text=text,
        stage="decode",
        group="runstream-sink",
        app="sink",
    )


@pytest.mark.parametrize("value", [b"\x00\xff\xfe", b"", None, b"{}"])
@pytest.mark.parametrize("key", [b"\xff", None, b""])
def test_key_value_and_partition_are_those_of_the_source(
    value: bytes | None, key: bytes | None
) -> None:
    found = letter(FakeRecord(value, key=key))
    assert (found.topic, found.key, found.value) == ("p.execution.events.dlq", key, value)
    assert found.partition == 3
    assert fitting(found, 4).partition == 3
    assert fitting(found, 3).partition is None


def test_headers_are_unique_and_text() -> None:
    given = [
        ("traceparent", b"\xff\xfe"),
        ("twice", b"1"),
        ("twice", b"2"),
        ("kept", "ümlaut".encode()),
        ("null", None),
        (f"{PREFIX}class", b"an older fault"),
        (HOPS, b"2"),
    ]
    headers = letter(FakeRecord(b"x", given)).headers
    names = [name for name, _ in headers]
    assert len(names) == len(set(names))
    found = dict(headers)
    assert found["kept"] == "ümlaut".encode()
    assert found["null"] is None
    assert found[HOPS] == b"2"
    assert found[DROPPED] == b"3"
    assert found[f"{PREFIX}class"] == b"not_json"
    own = {name.removeprefix(PREFIX) for name in names if name.startswith(PREFIX)}
    assert own == {
        "class", "message", "topic", "partition", "offset", "timestamp", "group", "stage", "app",
        "attempt",
    }  # fmt: skip
    assert found[f"{PREFIX}timestamp"] == b"2026-11-20T07:00:00.123Z"
    for value in found.values():
        assert value is None or value.decode() is not None


def test_lengths_are_capped_and_unreadable_header_keys_survive() -> None:
    many = [(f"h{n}", b"v") for n in range(1_000)]
    assert len(letter(FakeRecord(b"x", many)).headers) == 1_010
    found = dict(letter(FakeRecord(b"x", ValueError("keys")), "x" * 10_000).headers)
    assert len(found[f"{PREFIX}message"]) == 1_000
    assert found[DROPPED] == b"1"


def test_a_redrive_gives_the_record_as_it_was_with_one_hop_more() -> None:
    headers = letter(FakeRecord(b"x", [("kept", b"1"), (HOPS, b"4")])).headers
    assert without_error(headers) == [("kept", b"1"), (HOPS, b"5")]
    assert without_error([]) == [(HOPS, b"1")]
    assert [hop_count(value) for value in (b"3", "4", None, b"-1", b"x", b"9" * 40)] == [
        3, 4, 0, 0, 0, 0,
    ]  # fmt: skip


def test_an_exhausted_step_is_a_letter_of_its_own_class() -> None:
    found = exhausted("steps.test", b"web-01", b"{}", message_text="3 of 3", attempt=3, app="r")
    assert (found.topic, found.partition) == ("steps.test.dlq", None)
    assert dict(found.headers)[f"{PREFIX}class"] == b"retries_exhausted"


def test_every_letter_has_an_archive_row() -> None:
    for value, headers in (
        (None, None),
        (b"\x00" * (KEPT_BYTES + 1), [("a\x00", b"b\x00"), ("x", b"\xff\xfe"), ("n", None)]),
        (b"x", ValueError("keys")),
        (b"x", [(f"{PREFIX}offset", b"99999999999999999999"), (f"{PREFIX}class", b"c" * 9_999)]),
    ):
        row = read_dead_letter(FakeRecord(value, headers))
        assert "\x00" not in row.headers
        assert row.value_bytes == (None if value is None else len(value))
        assert row.value is None or len(row.value) <= KEPT_BYTES
        assert row.source_offset is None
        assert row.error_class is None or len(row.error_class) <= 64
        assert isinstance(orjson.loads(row.headers), dict)


@pytest.mark.parametrize(
    "record",
    [
        FakeRecord(b"v" * 3_000_000),
        FakeRecord(b"v", key=b"k" * 3_000_000),
        FakeRecord(b"v", headers=[(f"h{n}", b"x" * 100_000) for n in range(30)]),
    ],
)
def test_of_a_record_that_was_compressed_far_the_beginning_is_kept(record: FakeRecord) -> None:
    made = letter(record)
    given = dict(made.headers)
    size = len(made.key or b"") + len(made.value or b"") + sum(len(v) for v in given.values())
    assert size < 100_000
    assert int(given[TRUNCATED]) > 2_900_000
    assert (record.key() or b"").startswith(made.key)
    assert (record.value() or b"").startswith(made.value)


def test_a_record_as_large_as_its_topic_takes_is_kept_whole() -> None:
    record = FakeRecord(b"v" * (2 * 1024 * 1024 - 1_000))
    assert letter(record).value == record.value()
