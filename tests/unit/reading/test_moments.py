"""Moments as people write them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from reading.moments import moment

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("90m", datetime(2026, 11, 23, 6, 30, tzinfo=UTC)),
        (" 7d ", datetime(2026, 11, 16, 8, 0, tzinfo=UTC)),
        ("2026-11-20", datetime(2026, 11, 20, tzinfo=UTC)),
        ("2026-11-20T07:00+02:00", datetime(2026, 11, 20, 5, 0, tzinfo=UTC)),
    ],
)
def test_forms(text: str, wanted: datetime) -> None:
    assert moment(text, NOW) == wanted


@pytest.mark.parametrize(
    "text", ["", "soon", "5y", "999999w", "٣d", "0001-01-01T00:00+14:00", "2026-13-01", "\x00"]
)
def test_what_is_none(text: str) -> None:
    assert moment(text, NOW) is None
