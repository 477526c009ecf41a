"""Answers: what the routers write on `execution.events` about what the API has sent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from streams.events import Event

T = TypeVar("T")


class Watch(Protocol):
    """Events of one partition, from the moment on at which the watch began."""

    async def first(self, wanted: Callable[[Event], T | None], seconds: float) -> T | None:
        """The first result of `wanted` that is one; None where none comes within that time."""


class Answers(Protocol):
    """The events of all partitions, read once for all who wait."""

    def watch(self, route: str, *marks: str) -> AbstractAsyncContextManager[Watch]:
        """The events with one of these texts, in the partition of this route key.

        An answer has not always the route key of what it answers, but it has its partition. What is
        written after this has been entered is not missed. Raises Problem where Kafka is away.
        """
