"""Live: events, progress and output as they are written, by Server-Sent Events."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Response

from api.caller import Caller, CurrentCaller
from api.live import beginning
from api.live.cursor import Cursor, parse
from api.live.execution_stream import ExecutionStream
from api.live.live import Live
from api.live.output_stream import OutputStream, Place, StreamName
from api.live.records import Origin
from api.live.response import EventStream
from api.live.tenant_stream import TenantStream
from api.live.visibility import Filter
from api.live.watch import Watch
from api.parts import CurrentParts, Parts
from api.problems import Problem, described, forbidden, not_found
from streams.ids import is_execution_id, partition_for, route_of
from streams.limits import MAX_ATTEMPTS, MAX_INTEGER
from streams.topics import EVENTS, OUTPUT

router = APIRouter(tags=["live"])

_OUTPUT_PLACE: Final = re.compile(r"([0-9]{1,5})-([0-9]{1,18})")
_NUMBER: Final = re.compile(r"[0-9]{1,18}")
#: Words of a filter.
_MOST_WORDS: Final = 50

_STREAM: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "description": "Records as they come; docs/live.md has the events and their fields.",
        "content": {"text/event-stream": {"schema": {"type": "string"}}},
    },
    **described(404, 429),
}
_COMPLETE: Final[dict[int | str, dict[str, Any]]] = {
    204: {"description": "Everything was sent: do not connect again."}
}

LastEventId = Annotated[
    str | None,
    Header(
        alias="Last-Event-ID",
        max_length=256,
        description="the last `id` that was received; browsers send it by themselves",
    ),
]


def _live(parts: Parts) -> Live:
    if parts.live is None:
        told = "this API serves no live streams: start it with runstream api"
        raise Problem(503, "unavailable", told)
    return parts.live


@router.get("/executions/{execution_id}/live", responses={**_STREAM, **_COMPLETE})
async def follow_execution(
    execution_id: str,
    caller: CurrentCaller,
    parts: CurrentParts,
    after: Annotated[
        int, Query(ge=0, le=MAX_INTEGER, description="begin after the event with this number")
    ] = 0,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow an execution: every event from the first on, and its progress, until it has ended."""
    live = _live(parts)
    given = None if last_event_id is None else _number(last_event_id)
    found = await beginning.find(live, caller, execution_id, after if given is None else given)
    if given is not None and found.is_complete:
        return Response(status_code=204)
    lease = live.admission.lease("execution", caller)
    stream = ExecutionStream(Watch(live, caller, lease), found)
    return EventStream(live, lease, stream.blocks())


@router.get("/live", responses=_STREAM)
async def follow_tenant(
    caller: CurrentCaller,
    parts: CurrentParts,
    type: Annotated[  # the name of the field it is about
        list[str] | None,
        Query(
            max_length=_MOST_WORDS,
            description="types of events, such as `execution.completed` or `step.*`",
        ),
    ] = None,
    status: Annotated[
        list[str] | None,
        Query(
            max_length=_MOST_WORDS,
            description="only events that give an execution one of these statuses",
        ),
    ] = None,
    procedure: Annotated[
        list[str] | None,
        Query(max_length=_MOST_WORDS, description="only executions of these procedures"),
    ] = None,
    after: Annotated[
        str | None, Query(max_length=256, description="an `id` of this stream to go on from")
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow all events of your tenant that you may read, from now on or from a place on."""
    live = _live(parts)
    if caller.rights.visible().nothing:
        raise forbidden("the policy lets you read no execution: ask for the control `read`")
    wanted = Filter.of(type or [], status or [], procedure or [])
    given = last_event_id or after
    resume = None if given is None else _cursor(given)
    await live.ready()
    lease = live.admission.lease("tenant", caller)
    stream = TenantStream(Watch(live, caller, lease), wanted, resume)
    return EventStream(live, lease, stream.blocks())


@router.get(
    "/executions/{execution_id}/steps/{step}/output/live", responses={**_STREAM, **_COMPLETE}
)
async def follow_output(
    execution_id: str,
    step: str,
    caller: CurrentCaller,
    parts: CurrentParts,
    stream: StreamName = "stdout",
    attempt: Annotated[
        int | None, Query(ge=1, le=MAX_ATTEMPTS, description="default is the latest one")
    ] = None,
    last: Annotated[
        int | None,
        Query(
            ge=0,
            le=MAX_INTEGER,
            description="begin with about the last so many bytes; 0: with what comes from now on; "
            "default is the first byte",
        ),
    ] = None,
    last_event_id: LastEventId = None,
) -> Response:
    """Follow what an attempt writes, until it has ended."""
    live = _live(parts)
    await live.ready()
    await _require(live, caller, execution_id)
    given = None if last_event_id is None else _output_place(last_event_id)
    history = live.history
    if given is not None:
        chosen, begin = given
    else:
        chosen = attempt or await history.attempt(execution_id, step) or 1
        begin = 0
        if last is not None:
            begin = await history.tail(execution_id, step, chosen, stream, last)
    written = await history.ended(execution_id, step, chosen, stream)
    partition = partition_for(route_of(execution_id).encode(), OUTPUT.partitions)
    if given is not None and written is not None:
        page = await history.chunks(execution_id, step, chosen, stream, begin, partition)
        if not page.chunks and live.hub.output_covers(partition, page.stored or 0):
            return Response(status_code=204)
    lease = live.admission.lease("output", caller)
    place = Place(execution_id, step, chosen, stream, begin, partition)
    followed = OutputStream(Watch(live, caller, lease), place, written)
    return EventStream(live, lease, followed.blocks())


async def _require(live: Live, caller: Caller, execution_id: str) -> None:
    """Raises Problem 404 where the caller may not read the execution."""
    if is_execution_id(execution_id):
        origin: Origin | None = live.hub.origins.get(execution_id)
        if origin is None:
            known = await live.history.execution(execution_id)
            origin = None if known is None else known.origin
        if origin is not None and beginning.readable(caller, origin):
            return
    raise not_found("execution of this id")


def _number(given: str) -> int:
    if not _NUMBER.fullmatch(given):
        raise _wrong_place("a number of an event, such as 17")
    return int(given)


def _cursor(given: str) -> Cursor:
    found = parse(given, EVENTS.partitions)
    if found is None:
        raise _wrong_place(f"{EVENTS.partitions} offsets in hexadecimal, joined by dots")
    return found


def _output_place(given: str) -> tuple[int, int]:
    found = _OUTPUT_PLACE.fullmatch(given)
    if found is None or not 1 <= int(found[1]) <= MAX_ATTEMPTS:
        raise _wrong_place("attempt and chunk, such as 1-17")
    return int(found[1]), int(found[2])


def _wrong_place(form: str) -> Problem:
    told = f"Last-Event-ID (or after) is not an id of this stream: {form}; leave it out to begin"
    return Problem(422, "invalid_request", told)
