"""Source of the pages about executions."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends

from api.caller import CurrentCaller
from api.parts import CurrentParts
from reading.models.executions import ExecutionCounts, ExecutionPage
from web.views.filters import ListFilters


class Executions(Protocol):
    """What the pages about executions read."""

    def page(self, filters: ListFilters, after: str | None) -> ExecutionPage:
        """Executions that match, newest first."""

    def counts(self, filters: ListFilters) -> ExecutionCounts:
        """How many match, by status."""


def find_executions(caller: CurrentCaller, parts: CurrentParts) -> Executions:
    """What this caller may read."""
    raise NotImplementedError


CurrentExecutions = Annotated[Executions, Depends(find_executions)]
