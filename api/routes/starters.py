"""Paths of what starts procedures by itself: schedules and triggers."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response

from api.problems import not_found
from api.reading import RESPONSES, CurrentReader, CurrentTopics, answer, told
from reading import schedules, triggers
from reading.compacted import Unavailable
from reading.models.starters import ScheduleList, ScheduleView, TriggerList, TriggerView
from reading.topics import Topics

router: Final = APIRouter(tags=["schedules and triggers"], responses=RESPONSES)

Name = Annotated[str, Path(max_length=200)]
Moments = Annotated[int, Query(ge=0, le=schedules.MAX_MOMENTS, description="next moments")]


@router.get("/schedules", response_model=ScheduleList, summary="List the schedules")
def list_schedules(
    request: Request, reader: CurrentReader, topics: CurrentTopics, moments: Moments = 5
) -> Response:
    """Of the caller's tenant, each with when it is due next."""
    with told():
        read = topics.schedules.read()
    found = schedules.of_tenant(read.items, reader.tenant)
    return answer(request, schedules.listing(found.values(), read.as_of, moments))


@router.get("/schedules/{name}", response_model=ScheduleView, summary="One schedule")
def show_schedule(
    request: Request,
    reader: CurrentReader,
    topics: CurrentTopics,
    name: Name,
    moments: Moments = 20,
) -> Response:
    """With what runs, what waits, and what became of its last moments."""
    with told():
        state = schedules.of_tenant(topics.schedules.read().items, reader.tenant).get(name)
    found = None if state is None else schedules.document(state, moments)
    if found is None:
        raise not_found("schedule")
    return answer(request, found)


@router.get("/triggers", response_model=TriggerList, summary="List the triggers")
def list_triggers(request: Request, reader: CurrentReader, topics: CurrentTopics) -> Response:
    """Of the caller's tenant, each with what it has done."""
    with told():
        read = topics.triggers.read()
    found = triggers.of_tenant(read.items, reader.tenant)
    return answer(request, triggers.listing(found.values(), read.as_of, _known(topics)))


@router.get("/triggers/{name}", response_model=TriggerView, summary="One trigger")
def show_trigger(
    request: Request, reader: CurrentReader, topics: CurrentTopics, name: Name
) -> Response:
    """With what became of the last records that it matched."""
    with told():
        state = triggers.of_tenant(topics.triggers.read().items, reader.tenant).get(name)
    found = None if state is None else triggers.document(state, _known(topics))
    if found is None:
        raise not_found("trigger")
    return answer(request, found)


def _known(topics: Topics) -> frozenset[str] | None:
    try:
        return topics.cluster.topics()
    except Unavailable:
        return None
