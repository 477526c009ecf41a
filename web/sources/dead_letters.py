"""Source of the pages about dead letters, and what redrives them."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends

from api.caller import CurrentCaller
from api.parts import CurrentParts
from reading.models.dead_letters import (
    DeadLetter,
    DeadLetterCounts,
    DeadLetterPage,
    DeadLetterSummary,
)
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


def find_letters(caller: CurrentCaller, parts: CurrentParts) -> Letters:
    """What this caller may read."""
    raise NotImplementedError


def find_redriving(caller: CurrentCaller, parts: CurrentParts) -> Redriving:
    """What this caller may do."""
    raise NotImplementedError


CurrentLetters = Annotated[Letters, Depends(find_letters)]
CurrentRedriving = Annotated[Redriving, Depends(find_redriving)]
