"""Outputs that are too large keep the beginning of every field, and say what is missing."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.executors.shortening import encode
from streams.limits import MAX_OUTPUT_BYTES
from streams.truncation import shortened_fields

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=200),
    lambda inner: st.lists(inner, max_size=20) | st.dictionaries(st.text(), inner, max_size=20),
    max_leaves=80,
)


def shortened(output: dict[str, Any], limit: int = MAX_OUTPUT_BYTES) -> dict[str, Any]:
    text = encode(output, limit)
    assert len(text) <= limit
    found: dict[str, Any] = orjson.loads(text)
    return found


def kept(output: dict[str, Any]) -> dict[str, tuple[int, int | None]]:
    return {path: (entry.kept, entry.of) for path, entry in shortened_fields(output).items()}


def test_small_fields_are_whole_and_of_large_ones_the_beginning_is_kept() -> None:
    lines = [f"{number} " + "x" * 500 for number in range(1_000)]
    output = shortened({"exit_code": 0, "lines": lines, "text": "y" * 3_000_000, "list": [1, 2]})
    assert output["exit_code"] == 0 and output["list"] == [1, 2]
    assert output["truncated"] is True
    left, whole = kept(output)["lines"]
    assert whole == 1_000 and output["lines"] == lines[:left] and 150 < left < 1_000
    left, whole = kept(output)["text"]
    assert whole == 3_000_000 and output["text"] == "y" * left and left > 50_000
    assert len(orjson.dumps(output)) > MAX_OUTPUT_BYTES * 0.8


def test_a_document_within_the_output_keeps_its_small_fields_too() -> None:
    items = [{"id": number, "text": "z" * 1_000} for number in range(400)]
    output = shortened({"status": 200, "json": {"total": 400, "page": {"items": items}}})
    assert output["json"]["total"] == 400
    left, whole = kept(output)["json.page.items"]
    assert whole == 400 and output["json"]["page"]["items"] == items[:left] and left > 150


def test_of_one_item_that_is_too_large_the_beginning_is_kept() -> None:
    output = shortened({"rows": [{"name": "a", "blob": "b" * 1_000_000}, {"name": "c"}]})
    assert output["rows"][0]["name"] == "a" and len(output["rows"][0]["blob"]) > 100_000
    assert kept(output)["rows"] == (1, 2) and kept(output)["rows[0].blob"][1] == 1_000_000


def test_what_was_shortened_before_keeps_its_first_count() -> None:
    parsed = {
        "entries": ["e" * 1_000] * 1_000,
        "notes": ["n"],
        "truncated": True,
        "truncated_fields": {
            "entries": {"kept": 1_000, "of": 25_000},
            "notes": {"kept": 1, "of": None},
        },
    }
    output = shortened(parsed)
    assert kept(output)["entries"] == (len(output["entries"]), 25_000)
    assert kept(output)["notes"] == (1, None)
    assert shortened(output) == output


def test_an_object_of_very_many_fields_keeps_the_first() -> None:
    output = shortened({f"k{n}": "y" * 100 for n in range(50_000)})
    left, whole = kept(output)["*"]
    assert (
        whole == 50_000 and list(output)[:left] == [f"k{n}" for n in range(left)] and left > 1_000
    )
    output = shortened({"json": {f"k{n}": n for n in range(100_000)}, "ok": True})
    assert output["ok"] and kept(output)["json"] == (len(output["json"]), 100_000)


@pytest.mark.parametrize("foreign", [1, [], {"a": 1}, {"a": {"kept": "x"}}])
def test_fields_of_that_name_in_a_foreign_document_do_no_harm(foreign: Any) -> None:
    document = {"truncated": True, "truncated_fields": foreign, "text": "t" * 500_000}
    output = shortened(document)
    assert kept(output).keys() == {"text"}


@given(st.dictionaries(st.text(), _JSON, max_size=8), st.integers(1_024, 3_000))
def test_the_limit_holds_and_nothing_is_invented(output: dict[str, Any], limit: int) -> None:
    found = shortened(output, limit)
    if len(orjson.dumps(output)) <= limit:
        assert found == output
        return
    assert found["truncated"] is True
    fields = found.pop("truncated_fields")
    assert isinstance(fields, dict)
    found.pop("truncated")
    _is_beginning(found, output)
    for path, (left, whole) in kept({"truncated": True, "truncated_fields": fields}).items():
        assert whole is None or left <= whole, path


def _is_beginning(found: Any, whole: Any) -> None:
    if isinstance(found, dict):
        assert isinstance(whole, dict)
        for name, item in found.items():
            _is_beginning(item, whole[name])
    elif isinstance(found, list):
        assert isinstance(whole, list) and len(found) <= len(whole)
        for item, other in zip(found, whole, strict=False):
            _is_beginning(item, other)
    elif isinstance(found, str):
        assert isinstance(whole, str) and whole.startswith(found)
    else:
        assert found == whole
