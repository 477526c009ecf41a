"""Charts: what is drawn is as high as its number, and says what it shows."""

from __future__ import annotations

import pytest

from web.views import charts
from web.views.overview import rate
from web.wording import NOTHING


def test_bars_are_as_high_as_their_numbers_and_failures_stand_below_the_line() -> None:
    drawn = charts.stacked(
        [[("ok", 6.0), ("wait", 2.0)], [("ok", 4.0), ("wait", 0.0)]],
        [("fail", 0.0), ("fail", 2.0)],
        ["first", "second"],
    )
    assert drawn.zero == 80.0 and drawn.most == 8.0
    first, second = drawn.bars
    assert [(one.tone, one.y, one.height) for one in first.parts] == [
        ("ok", 20.0, 60.0),
        ("wait", 0.0, 20.0),
    ]
    assert [(one.tone, one.y, one.height) for one in second.parts] == [
        ("ok", 40.0, 40.0),
        ("fail", 80.0, 20.0),
    ]


@pytest.mark.parametrize("many", [1, 40])
def test_one_failure_among_thousands_is_seen_and_nothing_leaves_the_chart(many: int) -> None:
    drawn = charts.stacked(
        [[("ok", 50_000.0), ("wait", 1.0)]] * many, [("fail", 1.0)] * many, ["x"] * many
    )
    for bar in drawn.bars:
        for part in bar.parts:
            assert part.height >= 1.0
            assert part.y >= 0 and part.y + part.height <= 100.01
        assert bar.x + bar.width <= drawn.width


def test_nothing_at_all_is_an_empty_chart() -> None:
    assert charts.sparkline([]).bars == []
    assert [bar.parts for bar in charts.sparkline([0, 0]).bars] == [[], []]
    assert charts.line("p50", "run", [None, None], 0.0).pieces == []
    assert charts.line("p50", "run", [0.0, 0.0], 0.0).pieces == ["5.0,100.0 15.0,100.0"]


def test_a_line_has_a_gap_where_nothing_is_known() -> None:
    drawn = charts.line("p50", "run", [1.0, 2.0, None, 4.0], 4.0)
    assert drawn.pieces == ["5.0,75.0 15.0,50.0"]
    assert drawn.dots == [(35.0, 0.0)]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, NOTHING), (1.0, "100 %"), (0.99999, "99.9 %"), (0.9774, "97.7 %"), (0.0, "0 %")],
)
def test_a_rate_is_whole_only_where_nothing_is_missing(value: float | None, text: str) -> None:
    assert rate(value) == text
