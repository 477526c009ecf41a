"""A cursor survives as text, and anything else is no cursor."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from api.live.cursor import Cursor, parse


@given(st.lists(st.integers(0, 2**63 - 1), min_size=8, max_size=8), st.integers(0, 7))
def test_text_and_back(positions: list[int], moved: int) -> None:
    cursor = Cursor(positions)
    cursor.move(moved, 77)
    positions[moved] = 77
    found = parse(cursor.text().decode(), 8)
    assert found is not None
    assert found.positions == cursor.positions == positions


@pytest.mark.parametrize(
    "text",
    ["", "1", "1.2.3.4.5.6.7", "1.2.3.4.5.6.7.8.9", "1.2.3.4.5.6.7.g", "1.2.3.4.5.6.7.-1",
     "1.2.3.4.5.6.7.8\n", "1.2.3.4.5.6.7. 8", "ffffffffffffffff" * 9,
     "8000000000000000.2.3.4.5.6.7.8", "\u0661.2.3.4.5.6.7.8"],
)  # fmt: skip
def test_what_is_no_cursor(text: str) -> None:
    assert parse(text, 8) is None


def test_a_copy_moves_by_itself() -> None:
    cursor = Cursor([1, 2])
    other = cursor.copy()
    other.move(0, 9)
    assert (cursor.text(), other.text()) == (b"1.2", b"9.2")
