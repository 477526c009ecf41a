"""What a record means for a trigger: conditions, items, inputs, and records that nobody can use."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from processors.triggers.matching import Failure, Looked, Match, Missed, Watched, look, read
from runtime.cel import expressions
from runtime.cel.worker import Worker
from streams.ids import mint_execution_id
from streams.started import mark_of
from streams.triggers import Trigger


@pytest.fixture(scope="module", autouse=True)
def worker() -> Iterator[None]:
    made = Worker()
    expressions.evaluate_by(made)
    yield
    made.close()


def seen(value: Any, *, raw: bytes | None = None, **fields: Any) -> list[Looked]:
    trigger = Trigger.model_validate(
        {"name": "t", "topic": "alerts", "procedure": "disk-check", **fields}
    )
    body = raw if raw is not None else json.dumps(value).encode()
    record = read("alerts", 3, 17, 1_790_000_000_123, b"web-1", body, [("a", b"1"), ("a", b"2")])
    return list(look(Watched("default", "t", trigger, "d", None), record, lambda: False))


ALERTS = {
    "status": "firing",
    "alerts": [
        {"status": "firing", "fingerprint": "f1", "labels": {"mountpoint": "/var", "n": 7}},
        {"status": "resolved", "fingerprint": "f2", "labels": {"mountpoint": "/srv"}},
    ],
}


def test_each_item_of_an_alertmanager_message_counts_on_its_own() -> None:
    found = seen(
        ALERTS,
        for_each="message.alerts",
        when='item.status == "firing"',
        inputs={"path": "{{ item.labels.mountpoint }}", "limit": "{{ item.labels.n }}",
                "why": "{{ item.fingerprint }} on {{ key }} at {{ timestamp }}", "fixed": [1]},
        deduplicate={"key": "item.fingerprint"},
    )  # fmt: skip
    first, second = found
    assert isinstance(first, Match)
    assert first.inputs == {
        "path": "/var", "limit": 7, "why": "f1 on web-1 at 2026-09-21T14:13:20.123Z", "fixed": [1],
    }  # fmt: skip
    assert (first.item, first.same_value) == (0, "f1")
    assert second == Missed(1)


@pytest.mark.parametrize(
    "when",
    [
        'key == "web-1" && headers.a == "2"',
        'topic == "alerts" && partition == 3 && offset == 17',
        'timestamp(timestamp) < timestamp("2027-01-01T00:00:00Z")',
        "message == null && text == 'no {json'",
        "{{ text.startsWith('no') }}",
    ],
)
def test_expressions_see_the_whole_record(when: str) -> None:
    assert isinstance(seen(None, raw=b"no {json", when=when)[0], Match)


@pytest.mark.parametrize(
    ("raw", "fields", "field"),
    [
        (b"{}", {"when": "message.status == 'firing'"}, "when"),
        (b"[1]", {"when": "message[0]"}, "when"),
        (b"not json", {"for_each": "message.alerts"}, "for_each"),
        (b'{"alerts": {}}', {"for_each": "message.alerts"}, "for_each"),
        (b"[" + b"1," * 1_000 + b"1]", {"for_each": "message"}, "for_each"),
        (b"[" * 500 + b"]" * 500, {"when": "true"}, "message"),
        (b"{}", {"inputs": {"path": "{{ message.path }}"}}, "inputs.path"),
        (b'"%s"' % (b"x" * 600_000), {"inputs": {"path": "{{ message }}"}}, "inputs.path"),
        (b'"%s"' % (b"a" * 200_000),
         {"when": "message.matches('(a|a)*(b|a)*(a+)+c') || message.matches('(x+x+)+y')"}, None),
        (b"{}", {"when": "[1,2,3].map(i, message.x)"}, "when"),
    ],
)  # fmt: skip
def test_what_nobody_can_use_is_one_failure_and_stops_nothing(
    raw: bytes, fields: dict[str, Any], field: str | None
) -> None:
    (found,) = seen(None, raw=raw, **fields)
    if field is not None:
        assert isinstance(found, Failure)
        assert found.field == field
        assert 0 < len(found.error) < 1_000
    assert isinstance(seen({"status": "firing"}, when="message.status == 'firing'")[0], Match)


def test_bytes_that_are_no_text_and_json_with_nul_are_values_like_others() -> None:
    assert isinstance(seen(None, raw=b"\xff\x00", when="text == null && message == null")[0], Match)
    (found,) = seen({"path": "a\x00b"}, inputs={"path": "{{ message.path }}"})
    assert isinstance(found, Match)
    assert found.inputs == {"path": "a\x00b"}
    assert isinstance(seen(None, raw=b"\x00" * 300_000, when="text == null")[0], Match)


def test_braces_in_a_value_are_text_and_nothing_is_replaced_in_them() -> None:
    (found,) = seen({"path": "{{ message.other }}", "other": 1}, inputs={"p": "{{ message.path }}"})
    assert isinstance(found, Match)
    assert found.inputs == {"p": "{{ message.other }}"}


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("{{ message }}", {"type": "secret", "path": "env:ROOT"}),
        ("{{ message.a }}", {"a": [{"b": {"type": "secret", "path": "env:ROOT"}}]}),
        ({"type": "secret", "path": "{{ message }}"}, "env:ROOT"),
        ({"type": "{{ message }}", "path": "env:ROOT"}, "secret"),
        ([{"x": {"type": "secret", "path": "env:{{ message }}"}}], "ROOT"),
    ],
)
def test_a_record_names_no_secret(written: Any, message: Any) -> None:
    (found,) = seen(message, inputs={"password": written})
    assert isinstance(found, Failure)
    assert "a record may not name a secret" in found.error


def test_a_secret_that_the_trigger_names_stays() -> None:
    secret = {"type": "secret", "path": "env:ROOT"}
    (found,) = seen({}, inputs={"password": secret})
    assert isinstance(found, Match)
    assert found.inputs == {"password": secret}


def test_events_of_what_it_started_start_nothing() -> None:
    own = mint_execution_id("0badcafe", 1_790_000_000_000, mark_of("trigger", "default/t"))
    other = mint_execution_id("0badcafe", 1_790_000_000_000, mark_of("trigger", "default/u"))
    assert seen({"execution_id": own}) == []
    assert isinstance(seen({"execution_id": other})[0], Match)
    assert isinstance(seen({"execution_id": "x" * 32})[0], Match)


def test_the_same_is_what_is_equal_as_json() -> None:
    key = {"key": "message.labels"}
    one, other, third = (
        seen(value, deduplicate=key)[0]
        for value in (
            {"labels": {"a": 1, "b": 2}}, {"labels": {"b": 2, "a": 1}}, {"labels": {"a": 1}},
        )
    )  # fmt: skip
    assert isinstance(one, Match)
    assert isinstance(other, Match)
    assert isinstance(third, Match)
    assert one.same == other.same != third.same
