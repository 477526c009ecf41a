"""Times, ids and hostile text as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from web import wording
from web.routing import own_path
from web.statuses import EXECUTION, STEP, execution_look
from web.templating import environment
from web.views.filters import ListFilters
from web.visible import visible

NOW = datetime(2026, 11, 23, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "\N{EN DASH}"), (0.004, "4 ms"), (0.42, "0.4 s"), (9.94, "9.9 s"), (12.4, "12 s"),
        (59.6, "1 min"), (184, "3 min 04 s"), (3_600, "1 h"), (7_500, "2 h 05 min"),
        (86_400 * 3 + 4 * 3_600, "3 d 04 h"), (-2.0, "\N{MINUS SIGN}2.0 s"),
    ],
)  # fmt: skip
def test_durations(seconds: float | None, text: str) -> None:
    assert wording.duration(seconds) == text


@pytest.mark.parametrize(
    ("back", "text"),
    [(2, "now"), (59, "59 s ago"), (60, "1 min ago"), (7_200, "2 h ago"), (-90, "in 1 min")],
)
def test_ages(back: float, text: str) -> None:
    assert wording.ago(NOW - timedelta(seconds=back), NOW) == text


def test_a_percentage_is_not_100_before_it_is() -> None:
    assert [wording.percent(value) for value in (0.0, 99.97, 100.0)] == ["0 %", "99 %", "100 %"]


def test_every_status_has_a_look_with_a_symbol_that_exists() -> None:
    icons = environment().get_template("icons.html").render()
    for look in [*EXECUTION.values(), *STEP.values()]:
        assert f'id="i-{look.icon}"' in icons
    assert execution_look("from_a_later_version").word == "From a later version"


def test_characters_that_control_a_terminal_or_turn_text_are_spelled_out() -> None:
    assert visible("a\x1b[2Jb\x00\u202ec\x9b\ud800\tx\r\ny") == (
        "a␛[2Jb␀\\u202ec\\u009b\\ud800\tx\ny"
    )
    assert visible("grün 漢字 🙂") == "grün 漢字 🙂"


def test_templates_escape_and_make_visible_whatever_they_write() -> None:
    made = environment().from_string('<p title="{{ text }}">{{ text }}</p>')
    assert made.render(text='"><script>\x1b') == (
        '<p title="&#34;&gt;&lt;script&gt;␛">&#34;&gt;&lt;script&gt;␛</p>'
    )


@pytest.mark.parametrize(
    "value",
    ["//evil.example", "https://evil.example", "/\\evil.example", "javascript:alert(1)", "", "x",
     "/a\nSet-Cookie: x"],
)  # fmt: skip
def test_after_the_login_nobody_is_led_elsewhere(value: str) -> None:
    assert own_path(value) == "/executions"
    assert own_path("/executions?status=failed") == "/executions?status=failed"


def test_filters_make_addresses_and_can_be_taken_away_one_by_one() -> None:
    filters = ListFilters(text="a&b", status="failed", actor="ann@acme", since="24h")
    assert filters.query("cursor") == (
        "?text=a%26b&status=failed&actor=ann%40acme&since=24h&after=cursor"
    )
    found = {one.name: one.without for one in filters.removable()}
    assert found["By"] == "/executions?text=a%26b&status=failed&since=24h"
    assert filters.with_status("") == "/executions?text=a%26b&actor=ann%40acme&since=24h"
    assert ListFilters().live and not filters.live
