"""No test here is about the stack: each has settings of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.conftest import BEFORE_STACK


@pytest.fixture(scope="module", autouse=True)
def outside_the_stack() -> Iterator[None]:
    """The environment as it was before another test started the stack, if one did."""
    with pytest.MonkeyPatch.context() as environment:
        for name, value in BEFORE_STACK.items():
            if value is None:
                environment.delenv(name, raising=False)
            else:
                environment.setenv(name, value)
        yield
