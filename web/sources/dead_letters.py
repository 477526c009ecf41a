"""Source of the pages about dead letters, and what redrives them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Final, Protocol

from fastapi import Depends, Response
from starlette.concurrency import run_in_threadpool

from api.caller import CurrentCaller
from api.commands import DEFAULT_WAIT
from api.parts import CurrentParts, Parts
from api.problems import Problem
from api.queries import execution_id, storable
from api.reading import CurrentReader, told
from api.routes import control
from reading import letters
from reading.models.dead_letters import (
    DeadLetter,
    DeadLetterCounts,
    DeadLetterPage,
    DeadLetterSummary,
)
from reading.reader import Reader
from web.views.dead_letters import LetterFilters
from web.views.redriving import NO_LETTER, Redriven, Step, step_of

#: Commands that wait for a router at the same time.
_AT_ONCE: Final = 8


class Letters(Protocol):
    """The dead letters that the caller may see."""

    def page(self, filters: LetterFilters, after: str | None, limit: int) -> DeadLetterPage:
        """Those that match, newest first."""

    def counts(self, filters: LetterFilters) -> DeadLetterCounts:
        """Those of the range by topic and class."""

    def one(self, topic: str, partition: int, offset: int) -> DeadLetter | None:
        """One of them with its content."""


class Redriving(Protocol):
    """What redrives; raises Problem where nothing can be done at all."""

    async def redrive(self, letters: list[DeadLetterSummary]) -> list[Redriven]:
        """Redrive each of them."""


@dataclass(frozen=True, slots=True)
class FromTable:
    """Dead letters as they are read from Postgres."""

    reader: Reader
    parts: Parts

    def page(self, filters: LetterFilters, after: str | None, limit: int) -> DeadLetterPage:
        """See `Letters`."""
        wanted = self._wanted(filters)
        with told(), self.parts.database.connection() as connection:
            return letters.page(connection, self.reader, wanted, limit, after)

    def counts(self, filters: LetterFilters) -> DeadLetterCounts:
        """See `Letters`."""
        until = datetime.now(UTC)
        wanted = replace(self._wanted(filters), topic=None, error_class=None)
        with self.parts.database.connection() as connection:
            return letters.counts(
                connection, self.reader, wanted, until - filters.length, until, filters.spans
            )

    def one(self, topic: str, partition: int, offset: int) -> DeadLetter | None:
        """See `Letters`."""
        name = storable(topic, "dead letter")
        with self.parts.database.connection() as connection:
            return letters.one(connection, self.reader, name, partition, offset)

    def _wanted(self, filters: LetterFilters) -> letters.Filter:
        return letters.Filter(
            topic=storable(filters.topic, "topic") or None,
            error_class=storable(filters.error_class, "class") or None,
            execution_id=execution_id(filters.execution) if filters.execution else None,
            since=datetime.now(UTC) - filters.length,
        )


def find_letters(reader: CurrentReader, parts: CurrentParts) -> Letters:
    """What this caller may read."""
    return FromTable(reader, parts)


class ByRerun:
    """Redriving of steps after their last attempt, by the API's own route."""

    def __init__(
        self,
        caller: CurrentCaller,
        parts: CurrentParts,
        source: Annotated[Letters, Depends(find_letters)],
    ) -> None:
        """Of this caller."""
        self._caller, self._parts, self._source = caller, parts, source
        self._free = asyncio.Semaphore(_AT_ONCE)

    async def redrive(self, letters: list[DeadLetterSummary]) -> list[Redriven]:
        """See `Redriving`; letters of one step are one rerun."""
        steps: dict[Step | str, list[DeadLetterSummary]] = {}
        for one in letters:
            found = await run_in_threadpool(self._source.one, one.topic, one.partition, one.offset)
            steps.setdefault(NO_LETTER if found is None else step_of(found), []).append(one)
        told = await asyncio.gather(*(self._refusal(step) for step in steps))
        return [
            Redriven(one, why)
            for same, why in zip(steps.values(), told, strict=True)
            for one in same
        ]

    async def _refusal(self, step: Step | str) -> str | None:
        """Why the step is not run again."""
        if isinstance(step, str):
            return step
        body = control.Redrive(step=step.step, reason="dead letter")
        async with self._free:
            try:
                await control.redrive(
                    step.execution_id, Response(), self._parts, self._caller, body, DEFAULT_WAIT
                )
            except Problem as problem:
                return problem.document.detail
        return None


CurrentLetters = Annotated[Letters, Depends(find_letters)]
CurrentRedriving = Annotated[Redriving, Depends(ByRerun)]
