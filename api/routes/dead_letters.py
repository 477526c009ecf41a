"""Paths of dead letters: lists, counts, and one with its content."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Path, Query, Request
from fastapi.responses import Response

from api.parts import CurrentParts
from api.problems import not_found
from api.queries import After, Moment, Text, between, storable
from api.reading import RESPONSES, CurrentReader, answer, told
from reading import letters
from reading.letters import Filter
from reading.models.dead_letters import DeadLetter, DeadLetterCounts, DeadLetterPage

router: Final = APIRouter(tags=["dead letters"], responses=RESPONSES)

_LONGEST: Final = timedelta(days=400)
Place = Annotated[int, Path(ge=0, le=2**31 - 1)]
Offset = Annotated[int, Path(ge=0, le=2**63 - 1)]


def filters(
    topic: Annotated[Text | None, Query(description="full name of it or of its source")] = None,
    error_class: Text | None = None,
    execution: Annotated[Text | None, Query(description="id of the execution")] = None,
    since: Moment | None = None,
    until: Moment | None = None,
) -> Filter:
    """The letters that a request asks for."""
    return Filter(topic, error_class, execution, since, until)


Filters = Annotated[Filter, Depends(filters)]


@router.get("/dead-letters", response_model=DeadLetterPage, summary="List dead letters")
def list_letters(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    wanted: Filters,
    limit: Annotated[int, Query(ge=1, le=letters.MAX_PAGE)] = 50,
    after: After = None,
) -> Response:
    """Newest first. Those of no known execution are for operators of the cluster only."""
    with told(), parts.database.connection() as connection:
        return answer(request, letters.page(connection, reader, wanted, limit, after))


@router.get("/dead-letters/counts", response_model=DeadLetterCounts, summary="Count dead letters")
def count_letters(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    wanted: Filters,
    spans: Annotated[int, Query(ge=1, le=letters.MAX_SPANS, description="of the series")] = 24,
) -> Response:
    """By topic and class, with a series; of the last day if no range is given."""
    begin, end = between(wanted.since, wanted.until, default=timedelta(days=1), longest=_LONGEST)
    with parts.database.connection() as connection:
        return answer(request, letters.counts(connection, reader, wanted, begin, end, spans))


@router.get(
    "/dead-letters/{topic}/{partition}/{offset}",
    response_model=DeadLetter,
    summary="One dead letter",
)
def show_letter(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    topic: Annotated[str, Path(max_length=300)],
    partition: Place,
    offset: Offset,
) -> Response:
    """With its key, value and headers; of a large value the beginning."""
    name = storable(topic, "dead letter")
    with parts.database.connection() as connection:
        found = letters.one(connection, reader, name, partition, offset)
    if found is None:
        raise not_found("dead letter")
    return answer(request, found)
