"""What the stack of the session has set in this process's environment, and how to do without it.

The processes of the stack inherit it whenever they are started, so it stays for the session.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from tempfile import TemporaryDirectory

import pytest

#: What the stack has set, as it was before; None where it was not set.
BEFORE_STACK: dict[str, str | None] = {}


@contextmanager
def without_stack() -> Iterator[None]:
    """The environment as it was before the stack; for one that has settings of its own.

    A stack that was left in the folder of the repository is none of it either.
    """
    with pytest.MonkeyPatch.context() as environment, TemporaryDirectory() as empty:
        environment.setenv("RUNSTREAM_STATE_DIR", empty)
        for name, value in BEFORE_STACK.items():
            if name not in os.environ and value is None:
                continue
            if value is None:
                environment.delenv(name)
            else:
                environment.setenv(name, value)
        yield
