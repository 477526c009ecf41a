"""No test here is about the stack: each has settings of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.stack_environment import without_stack


@pytest.fixture(scope="module", autouse=True)
def outside_the_stack() -> Iterator[None]:
    """The environment as it was before another test started the stack, if one did."""
    with without_stack():
        yield
