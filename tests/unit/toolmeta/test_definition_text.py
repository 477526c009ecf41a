"""The YAML of a definition says what it looks like: no word of it is silently something else."""

from __future__ import annotations

import json

import pytest

from toolmeta import registry
from toolmeta.definitions import CatalogueError, as_json


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a:\n  on: 1", "line 2: on is no text"),
        ("enum: [on, off]", "line 1: off is false"),
        ("a: Yes", "Yes is true"),
        ("a: NO", "NO is false"),
        ("effects: {false: read}", "false is no text"),
        ("effects: {1: read}", "1 is no text"),
        ("a: {null: 1}", "null is no text"),
        ("mode: 0644", "0644 is the number 420"),
        ("at: 12:30", "12:30 is the number 750"),
        ("id: 1_000", "1_000 is the number 1000"),
        ("id: 0x1F", "0x1F is the number 31"),
        ("a: ~", "~ is null"),
        # A comma ends the text of a flow mapping, and what follows is a key of its own.
        ("a: {description: what it wrote, where that is text}", "where that is text has no value"),
        ("a:", "a has no value"),
        ("a: 2026-01-31", "2026-01-31 is a timestamp"),
        ("a: &b {<<: *b}", "<< is a merge"),
        ("a: &b [*b]", "ircular"),
        ("a: 1\na: 2", "line 2: a stands there twice"),
        ("- [", "expected"),
    ],
)
def test_what_would_mislead_is_refused(text: str, words: str) -> None:
    with pytest.raises(CatalogueError) as refused:
        as_json(text, "network", "sample")
    assert "network/sample.yaml" in str(refused.value)
    assert words in str(refused.value)


def test_what_is_plain_stays_as_it_is() -> None:
    text = "{a: true, b: 'on', c: \"0644\", d: 1.5, e: -3, f: 'no', n: null, y: text, 'true': x}"
    assert json.loads(as_json(text, "network", "sample")) == {
        "a": True, "b": "on", "c": "0644", "d": 1.5, "e": -3, "f": "no", "n": None, "y": "text",
        "true": "x",
    }  # fmt: skip


def test_the_light_of_a_camera_says_whether_it_is_on() -> None:
    tool = registry.load().get("axis_vapix_light_control")
    assert tool is not None
    assert "on" in tool.output["properties"]
    assert "true" not in tool.output["properties"]


@pytest.mark.parametrize("text", ["[" * 100_000, "a: " + "{b: " * 3_000, "- " * 50_000 + "x"])
def test_what_is_nested_too_deep_is_refused_and_ends_no_process(text: str) -> None:
    """The C loader composes by recursion, and would run out of stack."""
    with pytest.raises(CatalogueError, match="line 1: nested deeper than 64 levels"):
        as_json(text, "automation", "deep")
