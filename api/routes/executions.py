"""Paths of executions: lists, one, its plan, its events and its progress."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response

from api.parts import CurrentParts
from api.problems import not_found
from api.queries import After, Ident, Moment, Number, Text, execution_id
from api.reading import RESPONSES, CurrentReader, CurrentTopics, answer, told
from reading import details, events, executions
from reading.executions import Wanted
from reading.models.events import EventPage
from reading.models.executions import (
    ExecutionCounts,
    ExecutionDetail,
    ExecutionPage,
    PlanView,
)
from reading.models.progress import ProgressView
from reading.progress import progress
from streams.lifecycle import ExecutionStatus
from streams.vocabulary import Environment

router: Final = APIRouter(tags=["executions"], responses=RESPONSES)


def filters(
    status: Annotated[
        list[ExecutionStatus] | None, Query(description="repeatable: any of these", max_length=12)
    ] = None,
    actor: Text | None = None,
    procedure: Text | None = None,
    schedule: Annotated[Text | None, Query(description="what this schedule started")] = None,
    trigger: Annotated[Text | None, Query(description="what this trigger started")] = None,
    environment: Environment | None = None,
    asset: Annotated[Text | None, Query(description="that had a step for this target")] = None,
    text: Annotated[
        Text | None, Query(description='words of name, reason or error; "a phrase", -without')
    ] = None,
    since: Annotated[Moment | None, Query(description="admitted at this moment or later")] = None,
    until: Annotated[Moment | None, Query(description="admitted before this moment")] = None,
    late: Annotated[bool, Query(description="only beyond what their class promises")] = False,
) -> Wanted:
    """The executions that a request asks for."""
    return Wanted(
        statuses=None if not status else tuple(dict.fromkeys(status)),
        actor=actor,
        procedure=procedure,
        started_by=schedule or trigger,
        started_by_kind="schedule" if schedule else "trigger" if trigger else None,
        environment=environment,
        asset=asset,
        words=text,
        since=since,
        until=until,
        late=late,
    )


Filters = Annotated[Wanted, Depends(filters)]


@router.get("/executions", response_model=ExecutionPage, summary="List executions, newest first")
def list_executions(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    wanted: Filters,
    limit: Annotated[int, Query(ge=1, le=executions.MAX_PAGE)] = 50,
    after: After = None,
) -> Response:
    """Those that the caller may see and that fulfil every filter."""
    with told(), parts.database.connection() as connection:
        return answer(request, executions.page(connection, reader, wanted, limit, after))


@router.get(
    "/executions/counts", response_model=ExecutionCounts, summary="Count executions by status"
)
def count_executions(
    request: Request, parts: CurrentParts, reader: CurrentReader, wanted: Filters
) -> Response:
    """With the same filters as the list; the one by status counts for nothing."""
    with parts.database.connection() as connection:
        return answer(request, executions.counts(connection, reader, wanted))


@router.get("/executions/{ident}", response_model=ExecutionDetail, summary="One execution")
def show_execution(
    request: Request, parts: CurrentParts, reader: CurrentReader, ident: Ident
) -> Response:
    """Its header: how it stands, why it waits, its approval, its limits."""
    with parts.database.connection() as connection:
        found = details.detail(connection, reader, execution_id(ident))
    if found is None:
        raise not_found("execution")
    return answer(request, found)


@router.get("/executions/{ident}/plan", response_model=PlanView, summary="Its plan as admitted")
def show_plan(
    request: Request, parts: CurrentParts, reader: CurrentReader, ident: Ident
) -> Response:
    """With every default filled in; what the steps were given stands with the steps."""
    with parts.database.connection() as connection:
        found = details.plan(connection, reader, execution_id(ident))
    if found is None:
        raise not_found("execution")
    return answer(request, found)


@router.get("/executions/{ident}/events", response_model=EventPage, summary="Its events, in order")
def list_events(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    ident: Ident,
    after: Annotated[Number, Query(description="events with greater numbers")] = 0,
    limit: Annotated[int, Query(ge=1, le=events.MAX_EVENTS)] = 200,
) -> Response:
    """Fewer than `limit` where their data is large."""
    with parts.database.connection() as connection:
        known = execution_id(ident)
        found = events.page(connection, reader, known, after=after, limit=limit)
        if not found.events and not executions.known(connection, reader, known):
            raise not_found("execution")
    return answer(request, found)


@router.get("/executions/{ident}/progress", response_model=ProgressView, summary="How far it is")
def show_progress(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    topics: CurrentTopics,
    ident: Ident,
) -> Response:
    """The latest snapshot with its estimate of the end; from the tables where there is none."""
    with parts.database.connection() as connection:
        found = details.detail(connection, reader, execution_id(ident))
        if found is None:
            raise not_found("execution")
        return answer(request, progress(connection, reader, topics.snapshots, found))
