"""References to outputs of which only the beginning is in the result."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.cel.expressions import ExpressionError, evaluate, render

_CUT = {
    "exit_code": 0,
    "count": 1_000,
    "lines": ["a", "b"],
    "json": {"total": 7, "items": [{"name": "x"}]},
    "truncated": True,
    "truncated_fields": {
        "lines": {"kept": 2, "of": 1_000},
        "json.items": {"kept": 1, "of": None},
    },
}
_CONTEXT: dict[str, Any] = {
    "steps": {
        "log": {"status": "succeeded", "output": _CUT},
        "each": {"status": "succeeded", "output": {"items": [_CUT, {"lines": ["c"]}], "count": 2}},
    }
}


@pytest.mark.parametrize(
    "text",
    [
        "steps.log.output.lines",
        'steps["log"].output["lines"]',
        "size(steps.log.output.lines)",
        "steps.log.output.lines.size() > 500",
        "has(steps.log.output.lines)",
        "steps.log.output.lines.filter(x, x == 'z').size() == 0",
        "steps.log.output.lines[steps.log.output.exit_code]",
        "steps.each.output.items[0].lines",
        "size(steps.each.output.items[0].lines)",
    ],
)
def test_a_field_that_was_cut_is_refused_by_name(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"lines of steps.* was cut: 2 of 1,000 are"):
        evaluate(text, _CONTEXT)


@pytest.mark.parametrize("text", ["steps.log.output.json", "size(steps.log.output.json) == 2"])
def test_so_is_what_holds_it(text: str) -> None:
    with pytest.raises(ExpressionError, match=r"json.items of steps.log.output was cut: the"):
        evaluate(text, _CONTEXT)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("steps.log.output.count", 1_000),
        ("steps.log.output.lines[1]", "b"),
        ("steps.log.output.json.total", 7),
        ("steps.log.output.json.items[0].name", "x"),
        ("steps.log.output.json.total + 1", 8),
        ("steps.each.output.items[1].lines", ["c"]),
        ("steps.each.output.count == 2", True),
        ("steps.log.output", _CUT),
    ],
)
def test_what_was_kept_is_there(text: str, value: Any) -> None:
    assert evaluate(text, _CONTEXT) == value


def test_an_item_beyond_those_kept_says_how_many_there_are() -> None:
    with pytest.raises(ExpressionError, match=r"no item 5 in .*lines; .* 2 of 1,000 were kept"):
        evaluate("steps.log.output.lines[5]", _CONTEXT)
    with pytest.raises(ExpressionError, match=r"no item 5 in .*items; .* the first 1 were kept"):
        evaluate("steps.log.output.json.items[5]", _CONTEXT)


def test_expressions_over_items_do_not_see_a_part_for_all() -> None:
    """What is chosen only while it is evaluated cannot be refused before: it is absent."""
    assert evaluate("steps.each.output.items.map(one, has(one.lines))", _CONTEXT) == [False, True]
    with pytest.raises(ExpressionError, match=r"lines"):
        evaluate("steps.each.output.items.map(one, one.lines)", _CONTEXT)


@pytest.mark.parametrize(
    "fields", [None, 3, {"lines": 3}, {"lines": {"kept": "many"}}, {"": {"kept": 1, "of": 2}}]
)
def test_whatever_else_stands_there_cuts_nothing(fields: Any) -> None:
    output = {"lines": ["a"], "truncated": True, "truncated_fields": fields}
    context = {"steps": {"a": {"output": output}}}
    assert render("{{ steps.a.output.lines }}", context) == ["a"]
    assert evaluate("size(steps.a.output.lines)", context) == 1


def test_a_foreign_document_with_very_many_such_fields_does_not_stop_the_router() -> None:
    fields = {f"f{number}": {"kept": 1, "of": 2} for number in range(10_000)}
    context = {"steps": {"a": {"output": {"x": 1, "truncated": True, "truncated_fields": fields}}}}
    with pytest.raises(ExpressionError, match="the references due together are more"):
        render(["{{ steps.a.output.x }}"] * 10_000, context)
