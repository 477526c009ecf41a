"""Cursors are what they were made from, or an error that says what to do."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reading.cursors import CursorError, decode, encode, ident, moment


@given(st.text(max_size=128).filter(lambda text: "\0" not in text), st.integers(0, 2**62))
def test_a_place_comes_back(step: str, number: int) -> None:
    step = step.encode("utf-8", "ignore").decode()
    assert decode("steps", encode("steps", number, step), int, str) == [number, step]


def made(value: Any) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()


@pytest.mark.parametrize(
    "text",
    [
        "", "x", "é", "[]", made([]), made({}), made(["other", 1, "a"]), made(["steps", 1]),
        made(["steps", 1, "a", 2]), made(["steps", "1", "a"]), made(["steps", True, "a"]),
        made(["steps", 1.5, "a"]), made(["steps", 1, None]), made(["steps", 2**63, "a"]),
        made(["steps", 1, "a\0"]), "A" * 2_000, made(["steps", 1, "a"])[:-3] + "!",
    ],
)  # fmt: skip
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(CursorError):
        decode("steps", text, int, str)


def test_moments_and_ids_within_are_checked() -> None:
    for text in ("", "yesterday", "2026-11-20T07:00:00", "9" * 40):
        with pytest.raises(CursorError):
            moment(text)
    for text in ("", "x", "' OR 1=1"):
        with pytest.raises(CursorError):
            ident(text)
