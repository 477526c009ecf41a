"""In which order waiting commands are claimed."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from processors.executors.turns import (
    LEVEL_SECONDS,
    MOST_OVERTAKEN_SECONDS,
    priority_of,
    turn,
)

PRIORITIES = st.integers(1, 10)
TIMES = st.floats(0, 1e6)


@given(TIMES, PRIORITIES, PRIORITIES, st.floats(0, 1e4))
def test_a_level_counts_as_half_a_minute(at: float, one: int, other: int, later: float) -> None:
    """The second comes first exactly where its levels are worth more than its delay."""
    assert LEVEL_SECONDS == 30
    worth = (one - other) * 30
    if abs(later - worth) > 1e-3:
        assert (turn(at + later, other) < turn(at, one)) is (later < worth)


@given(TIMES, PRIORITIES, PRIORITIES, st.floats(0.001, 1e6))
def test_what_comes_long_enough_after_a_command_never_overtakes_it(
    at: float, waits: int, comes: int, later: float
) -> None:
    assert MOST_OVERTAKEN_SECONDS == 270
    assert turn(at + 270 + later, comes) > turn(at, waits)


@pytest.mark.parametrize("priority", range(1, 11))
def test_the_priority_of_a_command(priority: int) -> None:
    said = {"parameters": {"priority": 3}, "step": '"priority":2', "priority": priority}
    assert priority_of(orjson.dumps(said)) == priority


def test_a_command_that_says_none_has_the_middle_one() -> None:
    assert priority_of(b'{"step": "one"}') == 5


@pytest.mark.parametrize(
    "value",
    [None, b"", b"\x00avro", b"[" * 100_000, b"null", b"[1]", b"3", "{}".encode("utf-16")]
    + [b'{"priority": %s}' % wrong for wrong in (b"0", b"11", b"-1", b"true", b'"1"', b"null")]
    + [b'{"priority": %s}' % wrong for wrong in (b"1.0", b"1e400", b"9" * 5_000, b"{}", b"NaN")],
)
def test_what_is_no_command_is_the_least_urgent(value: bytes | None) -> None:
    assert priority_of(value) == 10
