"""Numbers and words as people read them."""

from __future__ import annotations

import pytest

from reading import text


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (None, "-"),
        (-0.001, "0 ms"),
        (0.0124, "12 ms"),
        (1.26, "1.3 s"),
        (59.94, "59.9 s"),
        (125, "2 min 05 s"),
        (3_599.6, "1 h 00 min"),
        (86_400, "24 h 00 min"),
    ],
)
def test_seconds(value: float | None, words: str) -> None:
    assert text.seconds(value) == words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**4, "1.0 TiB"),
    ],
)
def test_size(value: int, words: str) -> None:
    assert text.size(value) == words


@pytest.mark.parametrize(
    ("output", "words"),
    [
        (None, ""),
        ("two\nlines", "two lines"),
        ({"a": 1, "b": None, "c": [1], "d": {}, "e": ""}, "a=1, c: 1 item, d: 0 fields"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_brief(output: object, words: str) -> None:
    assert text.brief(output) == words


def test_one_line_is_cut() -> None:
    assert text.one_line("x" * 300, 10) == "x" * 9 + "…"
    assert text.one_line("a\tb\r\nc") == "a b c"
