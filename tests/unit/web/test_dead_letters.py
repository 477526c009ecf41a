"""Dead letters as pages show them: bytes as they were, and what redriving would do."""

from __future__ import annotations

import base64

import pytest

from reading.models.dead_letters import Content, DeadLetterPage, DeadLetterSummary
from tests.browser.believable_system import letter
from web.views.dead_letters import LetterFilters, shown
from web.views.redriving import command_of, trial


def text(value: str, *, complete: bool = True) -> Content:
    return Content(encoding="text", text=value, bytes=len(value.encode()), complete=complete)


def test_json_is_indented_and_copied_as_it_was() -> None:
    found = shown(text('{"a":[1,"ü"]}'))
    assert found.form == "JSON" and found.copied == '{"a":[1,"ü"]}'
    assert found.text == '{\n  "a": [\n    1,\n    "ü"\n  ]\n}'


@pytest.mark.parametrize(
    "value",
    [
        '{"a":1,"a":2}',
        '{"a":1.10}',
        '{"a":1e400}',
        '{"a":12345678901234567890.0}',
        "{",
        "[" * 9_000,
    ],
)
def test_what_indentation_would_change_is_shown_as_it_is(value: str) -> None:
    assert (shown(text(value)).text, shown(text(value)).form) == (value, "text")


def test_bytes_that_are_no_text_are_a_hex_dump() -> None:
    raw = bytes(range(20))
    found = shown(
        Content(encoding="base64", text=base64.b64encode(raw).decode(), bytes=20, complete=True)
    )
    first, second = found.text.split("\n")
    assert first.startswith("000000  00 01 02") and first.endswith("  ................")
    assert second.split() == ["000010", "10", "11", "12", "13", "...."]


def test_a_trial_counts_what_runs_here_and_names_the_commands_for_the_rest() -> None:
    names = DeadLetterSummary.model_fields
    letters = [
        DeadLetterSummary(**{name: getattr(letter(number), name) for name in names})
        for number in range(8)
    ]
    found = trial(DeadLetterPage(letters=letters, next=None), LetterFilters(), 100)
    assert (found.steps, found.records, found.more) == (2, 6, False)
    assert found.commands == [
        "runstream dlq redrive execution.events.dlq --class store_failed",
        "runstream dlq redrive execution.requests.dlq --all",
        "runstream dlq redrive execution.requests.dlq --class invalid_json",
    ]
    # What came after the trial was shown is left alone.
    assert [one.offset for one in found.steps_up_to(letters[2].at.isoformat())] == [1205]


def test_a_topic_with_an_odd_name_is_quoted_in_the_command() -> None:
    odd = letter(0).model_copy(update={"topic": "x; rm -rf ~ '\n"})
    assert command_of(odd) == "runstream dlq redrive 'x; rm -rf ~ '\"'\"'\n' 0 1200"
