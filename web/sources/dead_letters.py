"""Source of the pages about dead letters, and what redrives them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Annotated, Protocol

from fastapi import Depends

from api.caller import CurrentCaller
from api.commands import DEFAULT_WAIT
from api.parts import CurrentParts, Parts
from api.queries import execution_id, storable
from api.reading import CurrentReader, told
from api.routes import redriving
from reading import letters
from reading.models.dead_letters import (
    DeadLetter,
    DeadLetterCounts,
    DeadLetterPage,
    DeadLetterSummary,
)
from reading.reader import Reader
from web.views.dead_letters import LetterFilters
from web.views.redriving import Redriven


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


class ByRoute:
    """Redriving by the API's own route: steps after their last attempt are run again."""

    def __init__(self, caller: CurrentCaller, reader: CurrentReader, parts: CurrentParts) -> None:
        """Of this caller."""
        self._caller, self._reader, self._parts = caller, reader, parts

    async def redrive(self, letters: list[DeadLetterSummary]) -> list[Redriven]:
        """See `Redriving`; letters of one step are one rerun."""
        if not letters:
            return []
        places = [
            redriving.Place(topic=one.topic, partition=one.partition, offset=one.offset)
            for one in letters
        ]
        wanted = redriving.Wanted(letters=places)
        found = await redriving.redrive(
            wanted, self._parts, self._caller, self._reader, DEFAULT_WAIT
        )
        why = {(one.topic, one.partition, one.offset): one.reason for one in found.refused}
        return [Redriven(one, why.get((one.topic, one.partition, one.offset))) for one in letters]


CurrentLetters = Annotated[Letters, Depends(find_letters)]
CurrentRedriving = Annotated[Redriving, Depends(ByRoute)]
