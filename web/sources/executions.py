"""Source of the pages about executions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Protocol

from fastapi import Depends

from api.parts import CurrentParts
from api.reading import CurrentReader
from reading.models.events import EventPage
from reading.models.executions import (
    ExecutionCounts,
    ExecutionDetail,
    ExecutionPage,
    ExecutionSummary,
    PlanView,
)
from reading.models.steps import AttemptPage, StepDetail, StepPage
from web.sources.tables import Tables
from web.views.filters import ListFilters


class Executions(Protocol):
    """What the pages about executions read."""

    def page(self, filters: ListFilters, after: str | None) -> ExecutionPage:
        """Executions that match, newest first."""

    def counts(self, filters: ListFilters) -> ExecutionCounts:
        """How many match, by status."""

    def some(self, idents: Sequence[str]) -> list[ExecutionSummary]:
        """These executions, newest first, as far as there are any."""

    def detail(self, ident: str) -> ExecutionDetail:
        """One execution; raises Problem 404."""

    def steps(
        self, ident: str, *, limit: int, after: str | None, statuses: Sequence[str]
    ) -> StepPage:
        """Steps in the order of the plan."""

    def attempts(self, ident: str, *, limit: int) -> AttemptPage:
        """Attempts in the order of the plan."""

    def step(self, ident: str, step: str) -> StepDetail | None:
        """One step; none where there is none."""

    def events(self, ident: str, *, after: int, limit: int) -> EventPage:
        """Events with numbers beyond `after`."""

    def plan(self, ident: str) -> PlanView:
        """The plan as admitted; raises Problem 404."""


def find_executions(reader: CurrentReader, parts: CurrentParts) -> Executions:
    """What this caller may read."""
    return Tables(parts.database, reader)


CurrentExecutions = Annotated[Executions, Depends(find_executions)]
