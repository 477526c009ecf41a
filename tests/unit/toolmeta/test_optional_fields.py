"""Fields of a request that are absent, and parameters that mean nothing alone."""

from __future__ import annotations

from typing import Any

import pytest

from tests.unit.toolmeta.samples import BASE, sample
from toolmeta.bind import bind
from toolmeta.check import check
from toolmeta.definitions import CatalogueError
from toolmeta.invocation import Invocation
from toolmeta.registry import load
from toolmeta.template import fill_value

LABELS = {"alertname": "Deployment"}
ENDS = "2026-11-20T10:00:00Z"
BEGINS = "2026-11-20T08:00:00Z"
SILENCE = [{"name": "instance", "value": "web-01", "isRegex": False, "isEqual": True}]


def sent(**parameters: Any) -> Any:
    tool = load().get("alertmanager")
    assert tool is not None
    invocation = bind(tool, parameters)
    assert isinstance(invocation, Invocation), invocation
    return invocation.arguments["json"]


def test_an_alert_begins_when_the_plan_says_and_else_now() -> None:
    posted = {"operation": "post_alert", "labels": LABELS}
    (begun,) = sent(**posted, starts_at=BEGINS, ends_at=ENDS)
    assert (begun["startsAt"], begun["endsAt"]) == (BEGINS, ENDS)
    (alert,) = sent(**posted)
    # The server itself puts in the time at which it gets the alert.
    assert "startsAt" not in alert


def test_a_silence_always_has_a_beginning() -> None:
    silence = {"operation": "add_silence", "matchers": SILENCE, "ends_at": ENDS}
    assert sent(**silence, starts_at=BEGINS)["startsAt"] == BEGINS
    # A past one means now.
    assert sent(**silence)["startsAt"] < "2001"


def test_the_first_that_is_there_is_taken() -> None:
    template = {"a": {"first_of": ["{x}", "{y}", 0]}, "b": {"first_of": ["{x}"]}}
    assert fill_value(template, {"x": False, "y": 2}) == {"a": False, "b": False}
    assert fill_value(template, {"x": None, "y": 2}) == {"a": 2}
    assert fill_value(template, {}) == {"a": 0}


def with_needs(*names: str) -> dict[str, Any]:
    shape = {"type": "boolean", "default": False, "description": "more", "needs": list(names)}
    return {
        "parameters": {
            **BASE["parameters"],
            "host": {"type": "string", "description": "machine"},
            "x": shape,
        }
    }


def test_what_needs_another_parameter_is_refused_without_it() -> None:
    run = {**BASE["run"], "argv": [*BASE["run"]["argv"], {"flag": "-x", "when": "x"}]}
    tool = sample(**with_needs("host"), run=run)
    given = tool.example.parameters
    (problem,) = check(tool, {**given, "x": True}, references_allowed=True)
    assert (problem.field, "host" in problem.message) == ("parameters.x", True)
    for fine in (
        {"x": False},
        {"x": True, "host": "a"},
        {"x": True, "host": "{{ steps.a.output.b }}"},
    ):
        assert check(tool, {**given, **fine}, references_allowed=True) == []
    with pytest.raises(CatalogueError, match="nothing is not a declared parameter"):
        sample(**with_needs("nothing"), run=run)
