"""The page of effects says of each tool what the router decides."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, get_args

import pytest

from console import effects_page
from streams.vocabulary import Environment
from toolmeta import registry
from toolmeta.model import Tool
from toolmeta.risk import approval_required

TOOLS = [tool for tool in registry.load().all() if tool.domain != "test"]
ROWS = {
    row.split("`")[1]: [cell.strip() for cell in row.replace("\\|", "").strip(" |").split(" | ")]
    for row in effects_page.page().splitlines()
    if row.startswith("| [`")
}


def calls(tool: Tool) -> Iterator[dict[str, Any]]:
    """A call of each operation, with each parameter and header that raises the effect."""
    yield {}
    risk = tool.risk
    if risk.effect_by is not None:
        by = risk.effect_by
        switch = tool.parameters[by.parameter].type == "boolean"
        for value in (*by.effects, "{{ steps.a.output.x }}"):
            yield {by.parameter: value == "true" if switch else value}
    for name in risk.raised_by:
        outer, _, inner = name.partition(".")
        yield {outer: {inner: True} if inner else True}
    for name in risk.raised_by_headers:
        yield {"headers": {name: "x"}}


@pytest.mark.parametrize("tool", TOOLS, ids=lambda tool: tool.name)
def test_the_page_says_where_a_tool_needs_approval(tool: Tool) -> None:
    needed = {
        environment
        for call in calls(tool)
        for environment in get_args(Environment)
        if approval_required(tool, call, environment)
    }
    _, effect, raised, approval, _ = ROWS[tool.name]
    assert approval == (", ".join(sorted(needed)) or "-")
    assert all(name in raised for name in (*tool.risk.raised_by, *tool.risk.raised_by_headers))
    assert effect == tool.risk.effect or tool.risk.effect_by is not None


def test_every_tool_has_one_row() -> None:
    assert sorted(ROWS) == sorted(tool.name for tool in TOOLS)
