"""The path of statistics."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.parts import CurrentParts
from api.queries import Moment, between
from api.reading import RESPONSES, CurrentReader, answer
from reading import statistics
from reading.models.statistics import Statistics

router: Final = APIRouter(tags=["statistics"], responses=RESPONSES)


@router.get("/statistics", response_model=Statistics, summary="Figures of a range")
def show_statistics(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    since: Annotated[Moment | None, Query(description="24 h before `until` if absent")] = None,
    until: Annotated[Moment | None, Query(description="now if absent")] = None,
    points: Annotated[int, Query(ge=1, le=statistics.MAX_POINTS, description="of the series")] = 24,
) -> Response:
    """Success, durations, queue times and promises kept, of what the caller may see."""
    day, longest = timedelta(days=1), timedelta(days=statistics.MAX_DAYS)
    begin, end = between(since, until, default=day, longest=longest)
    with parts.database.connection() as connection:
        return answer(request, statistics.statistics(connection, reader, begin, end, points))
