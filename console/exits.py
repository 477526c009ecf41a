"""Exit codes, and the exception that ends a command with a message and no traceback."""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Exit(IntEnum):
    """What the exit code of a command means; scripts rely on it."""

    OK = 0
    FAILED = 1
    USAGE = 2
    REJECTED = 3
    CANCELLED = 4
    TIMED_OUT = 5
    UNREACHABLE = 6
    INTERRUPTED = 130


#: The exit code of a command that saw this event end the execution.
OUTCOMES: Final[dict[str, Exit]] = {
    "execution.completed": Exit.OK,
    "execution.partial": Exit.FAILED,
    "execution.failed": Exit.FAILED,
    "execution.rejected": Exit.REJECTED,
    "execution.cancelled": Exit.CANCELLED,
    "execution.timed_out": Exit.TIMED_OUT,
}


class Failure(Exception):
    """The command cannot go on: a message, the remedy where there is one, and the exit code."""

    def __init__(self, message: str, code: Exit, remedy: str | None = None) -> None:
        """Keep the three apart, so that a terminal can show the remedy in its own style."""
        super().__init__(message)
        self.message = message
        self.code = code
        self.remedy = remedy
