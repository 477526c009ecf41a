"""Tables: the pages' sources, as they are read from Postgres for one caller."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from api.database import Database
from api.known import NEW_SECONDS, WAIT_SECONDS
from api.problems import Problem, not_found
from reading import details, events, executions, steps
from reading.cursors import CursorError
from reading.models.events import EventPage
from reading.models.executions import (
    ExecutionCounts,
    ExecutionDetail,
    ExecutionPage,
    ExecutionSummary,
    PlanView,
)
from reading.models.steps import AttemptPage, StepDetail, StepPage
from reading.moments import FORMS, moment
from reading.reader import Reader
from runtime import clock
from streams.ids import is_execution_id, minted_ms
from streams.lifecycle import TRANSITIONS
from web.views.filters import ListFilters

#: Executions on one page of the list.
PAGE: Final = 50
_PAUSE_SECONDS: Final = 0.05


def wanted_of(filters: ListFilters, now: datetime) -> executions.Wanted:
    """The filters as the queries know them; raises Problem 422."""
    if filters.status and filters.status not in TRANSITIONS:
        raise Problem(422, "invalid_request", f"status: there is no {filters.status!r}")
    return executions.Wanted(
        statuses=(filters.status,) if filters.status else None,
        actor=filters.actor or None,
        procedure=filters.procedure or None,
        started_by=filters.started_by or None,
        environment=filters.environment or None,
        asset=filters.asset or None,
        words=filters.text or None,
        since=_moment("since", filters.since, now),
        until=_moment("until", filters.until, now),
        late=filters.late,
    )


def _moment(name: str, text: str, now: datetime) -> datetime | None:
    if not text:
        return None
    found = moment(text, now)
    if found is None:
        raise Problem(422, "invalid_request", f"{name}: {text!r} is no moment; give {FORMS}")
    return found


@dataclass(frozen=True, slots=True)
class Tables:
    """What one caller may read of executions."""

    database: Database
    reader: Reader

    def page(self, filters: ListFilters, after: str | None) -> ExecutionPage:
        """Executions that match, newest first."""
        wanted = wanted_of(filters, datetime.now(UTC))
        try:
            with self.database.connection() as connection:
                return executions.page(connection, self.reader, wanted, PAGE, after)
        except CursorError as error:
            raise Problem(422, "invalid_request", str(error)) from None

    def counts(self, filters: ListFilters) -> ExecutionCounts:
        """How many match, by status."""
        wanted = wanted_of(filters, datetime.now(UTC))
        with self.database.connection() as connection:
            return executions.counts(connection, self.reader, wanted)

    def some(self, idents: Sequence[str]) -> list[ExecutionSummary]:
        """These executions, newest first, as far as there are any."""
        known = [ident for ident in idents if is_execution_id(ident)]
        with self.database.connection() as connection:
            found = executions.by_ids(connection, self.reader.condition(), known)
        return sorted(found.values(), key=lambda one: one.created_at, reverse=True)

    def detail(self, ident: str) -> ExecutionDetail:
        """One execution, also one that the sink is about to write; raises Problem 404."""
        missing = not_found("execution of this id")
        if not is_execution_id(ident):
            raise missing
        until = clock.monotonic() + WAIT_SECONDS
        while True:
            with self.database.connection() as connection:
                found = details.detail(connection, self.reader, ident)
            if found is not None:
                return found
            age = clock.now() - minted_ms(ident) / 1_000
            if not -NEW_SECONDS < age < NEW_SECONDS or clock.monotonic() > until:
                raise missing
            # Pages are made in threads of their own.
            time.sleep(_PAUSE_SECONDS)

    def steps(
        self, ident: str, *, limit: int, after: str | None, statuses: Sequence[str]
    ) -> StepPage:
        """Steps in the order of the plan."""
        try:
            with self.database.connection() as connection:
                return steps.page(
                    connection, self.reader, ident, limit=limit, after=after, statuses=statuses
                )
        except CursorError as error:
            raise Problem(422, "invalid_request", str(error)) from None

    def attempts(self, ident: str, *, limit: int) -> AttemptPage:
        """Attempts in the order of the plan."""
        with self.database.connection() as connection:
            return steps.attempts(connection, self.reader, ident, limit=limit)

    def step(self, ident: str, step: str) -> StepDetail | None:
        """One step; none where there is none."""
        with self.database.connection() as connection:
            return steps.one(connection, self.reader, ident, step)

    def events(self, ident: str, *, after: int, limit: int) -> EventPage:
        """Events with numbers beyond `after`."""
        with self.database.connection() as connection:
            return events.page(connection, self.reader, ident, after=after, limit=limit)

    def plan(self, ident: str) -> PlanView:
        """The plan as admitted; raises Problem 404."""
        with self.database.connection() as connection:
            found = details.plan(connection, self.reader, ident)
        if found is None:
            raise not_found("execution of this id")
        return found
