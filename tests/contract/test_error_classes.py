"""A definition may only name error classes that exist."""

from __future__ import annotations

import pytest

from drivers.errors import ERROR_CLASSES
from toolmeta import registry
from toolmeta.model import Tool


@pytest.mark.parametrize("tool", registry.load().all(), ids=lambda tool: tool.name)
def test_every_class_that_a_tool_names_exists(tool: Tool) -> None:
    rules = (*tool.run.failures, *tool.run.warnings)
    named = {rule.error_class for rule in rules} | tool.risk.transient
    assert named <= set(ERROR_CLASSES), named - set(ERROR_CLASSES)
