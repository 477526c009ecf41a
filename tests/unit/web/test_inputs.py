"""Inputs of procedures as fields of a form: what a text stands for, and what is told of it."""

from __future__ import annotations

from typing import Any

import pytest

from tests.browser.believable_requests import INPUTS, input_of
from web.views.inputs import fields, values


@pytest.mark.parametrize(
    ("declared", "text", "value"),
    [
        (input_of("a"), "  two words ", "  two words "),
        (input_of("a"), "line\r\nline", "line\nline"),
        (input_of("a"), "3", "3"),
        (input_of("a", "integer"), " -12 ", -12),
        (input_of("a", "number"), "0.5", 0.5),
        (input_of("a", "number"), "7", 7),
        (input_of("a", "boolean"), "false", False),
        (input_of("a", enum=["x", 3]), '"x"', "x"),
        (input_of("a", enum=["x", 3]), "3", 3),
        (input_of("a", "list", items="string"), "-web 01\n\n  web-02 \r\n", ["-web 01", "web-02"]),
        (input_of("a", "list", items="integer"), "1\n2", [1, 2]),
        (input_of("a", "list", items="object"), '[{"a": 1}]', [{"a": 1}]),
        (input_of("a", "object"), '{"a": [1, null]}', {"a": [1, None]}),
        (input_of("a", secret=True), " env/TOKEN ", {"type": "secret", "path": "env/TOKEN"}),
    ],
)
def test_a_text_becomes_a_value_of_the_declared_type(declared: Any, text: str, value: Any) -> None:
    given = values([declared], {"a": text})
    assert (given.values, given.wrong) == ({"a": value}, {})
    assert type(given.values["a"]) is type(value)


@pytest.mark.parametrize(
    ("declared", "text"),
    [
        (input_of("a", "integer"), "1.5"),
        (input_of("a", "integer"), "9" * 4_000),
        (input_of("a", "number"), "NaN"),
        (input_of("a", "number"), "Infinity"),
        (input_of("a", "number"), "true"),
        (input_of("a", "object"), "{"),
        (input_of("a", "object"), "[" * 100_000),
        (input_of("a", "list", items="integer"), "1\ntwo"),
    ],
)
def test_a_text_that_is_no_value_is_told_so_and_kept(declared: Any, text: str) -> None:
    given = values([declared], {"a": text})
    assert given.values == {} and list(given.wrong) == ["a"]
    assert len(given.wrong["a"]) < 150
    (field,) = fields([declared], {"a": text}, given.wrong)
    assert field.value == text and field.wrong == given.wrong["a"]


def test_what_is_left_empty_is_not_given() -> None:
    assert values(INPUTS, {one.name: " " for one in INPUTS}).values == {}


def test_defaults_stand_in_the_form_and_come_back_as_they_were() -> None:
    shown = fields(INPUTS, {}, {})
    assert [one.name for one in shown][:2] == ["hosts", "release"]
    given = values(INPUTS, {one.name: one.value for one in shown})
    assert given.wrong == {}
    assert given.values == {one.name: one.default for one in INPUTS if one.default is not None}
