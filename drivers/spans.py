"""Spans of what a driver does elsewhere; nothing where the attempt is not traced."""

from __future__ import annotations

from collections.abc import Awaitable, Mapping
from pathlib import PurePath
from typing import TypeVar

from drivers.context import Failure
from runtime import recording
from runtime.spans import Value

T = TypeVar("T")


async def traced(work: Awaitable[T], name: str, attributes: Mapping[str, Value | None]) -> T:
    """Await `work` in a span of this name; a Failure that it returns is that of the span, too.

    The attributes say where and what kind: never a parameter of the step, which could be a secret.
    """
    with recording.child(name, attributes) as span:
        outcome = await work
        if isinstance(outcome, Failure):
            span.failed(outcome.error_class)
        return outcome


def executable(argv: tuple[str, ...]) -> str:
    """The name of a program without its folder."""
    return PurePath(argv[0]).name if argv else ""
