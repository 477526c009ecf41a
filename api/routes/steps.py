"""Paths of the steps of an execution: what they did, tried and wrote."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Final

from fastapi import APIRouter, Path, Query, Request
from fastapi.responses import Response, StreamingResponse

from api.parts import CurrentParts
from api.problems import Problem, not_found
from api.queries import After, Ident, Text, execution_id, invalid, storable
from api.reading import RESPONSES, CurrentReader, answer, told
from reading import executions, output, steps
from reading.models.steps import (
    AttemptPage,
    OutputRange,
    StepDetail,
    StepPage,
    StreamName,
)
from streams.lifecycle import StepStatus
from streams.limits import MAX_ATTEMPTS, MAX_INTEGER

if TYPE_CHECKING:
    from api.parts import Parts
    from reading.output import Stream
    from reading.reader import Reader

router: Final = APIRouter(tags=["steps"], responses=RESPONSES)

StepName = Annotated[str, Path(description="`scan`, an item `scan[0]`", max_length=300)]
AttemptNumber = Annotated[
    int | None, Query(ge=1, le=MAX_ATTEMPTS, description="the latest if absent")
]
Offset = Annotated[int, Query(ge=0, le=MAX_INTEGER, description="the first byte")]
#: RFC 9110, section 14.1.2; several ranges are answered with the whole, as it allows.
_RANGE: Final = re.compile(r"bytes=(?:([0-9]{1,18})-([0-9]{0,18})|-([0-9]{1,18}))")


@router.get("/executions/{ident}/steps", response_model=StepPage, summary="Its steps, in order")
def list_steps(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    ident: Ident,
    status: Annotated[list[StepStatus] | None, Query(max_length=13)] = None,
    parent: Annotated[Text | None, Query(description="only what is within this step")] = None,
    limit: Annotated[int, Query(ge=1, le=steps.MAX_STEPS)] = 1_000,
    after: After = None,
) -> Response:
    """Without inputs and outputs; items and inner steps stand after the step they are of."""
    known = execution_id(ident)
    with told(), parts.database.connection() as connection:
        found = steps.page(
            connection, reader, known, limit=limit, after=after, statuses=status or (),
            parent=parent,
        )  # fmt: skip
        if not found.steps and not executions.known(connection, reader, known):
            raise not_found("execution")
    return answer(request, found)


@router.get("/executions/{ident}/steps/{step}", response_model=StepDetail, summary="One step")
def show_step(
    request: Request, parts: CurrentParts, reader: CurrentReader, ident: Ident, step: StepName
) -> Response:
    """With its inputs, outputs and attempts."""
    with parts.database.connection() as connection:
        found = steps.one(connection, reader, execution_id(ident), storable(step, "step"))
    if found is None:
        raise not_found("step")
    return answer(request, found)


@router.get("/executions/{ident}/attempts", response_model=AttemptPage, summary="All attempts")
def list_attempts(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    ident: Ident,
    limit: Annotated[int, Query(ge=1, le=steps.MAX_ATTEMPTS)] = 200,
    after: After = None,
) -> Response:
    """Of every step, in the order of the plan."""
    known = execution_id(ident)
    with told(), parts.database.connection() as connection:
        found = steps.attempts(connection, reader, known, limit=limit, after=after)
        if not found.attempts and not executions.known(connection, reader, known):
            raise not_found("execution")
    return answer(request, found)


@router.get(
    "/executions/{ident}/steps/{step}/output",
    summary="What an attempt wrote, or a range of it",
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {}}, "description": "the whole"},
        206: {"content": {"text/plain": {}}, "description": "the range; Content-Range says which"},
        416: {"description": "the range begins after what is stored so far"},
    },
)
def read_output(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    ident: Ident,
    step: StepName,
    stream: StreamName = "stdout",
    attempt: AttemptNumber = None,
    offset: Annotated[Offset | None, Query()] = None,
    limit: Annotated[int | None, Query(ge=1, le=MAX_INTEGER, description="bytes")] = None,
) -> Response:
    """Bytes of UTF-8 text, secrets masked. A range is asked for by `Range`, or offset and limit."""
    found = _find(parts, reader, ident, step, attempt, stream)
    begin, end = _wanted(request, found, offset, limit)
    headers = {
        "Accept-Ranges": "bytes",
        "Content-Length": str(end - begin),
        "Runstream-Attempt": str(found.attempt),
        "Runstream-Ended": "true" if found.ended else "false",
    }
    whole = begin == 0 and end == found.total and offset is None and limit is None
    if not whole or "range" in request.headers:
        headers["Content-Range"] = f"bytes {begin}-{end - 1}/{found.total}"
    ranged = "Content-Range" in headers and end > begin
    if not ranged:
        headers.pop("Content-Range", None)
    return StreamingResponse(
        _pieces(parts, reader, found, begin, end),
        status_code=206 if ranged else 200,
        headers=headers,
        media_type="text/plain; charset=utf-8",
    )


@router.get(
    "/executions/{ident}/steps/{step}/output/text",
    response_model=OutputRange,
    summary="A range of what an attempt wrote, as text with its place",
)
def read_text(
    request: Request,
    parts: CurrentParts,
    reader: CurrentReader,
    ident: Ident,
    step: StepName,
    stream: StreamName = "stdout",
    attempt: AttemptNumber = None,
    offset: Offset = 0,
    limit: Annotated[int, Query(ge=4, le=output.MAX_RANGE, description="bytes")] = 65_536,
) -> Response:
    """Whole characters; the next range begins at `offset` + `length` of this one."""
    found = _find(parts, reader, ident, step, attempt, stream)
    with parts.database.connection() as connection:
        return answer(request, output.text(connection, reader, found, offset, limit))


def _find(
    parts: Parts, reader: Reader, ident: str, step: str, attempt: int | None, stream: StreamName
) -> Stream:
    with parts.database.connection() as connection:
        found = output.find(
            connection, reader, execution_id(ident), storable(step, "step"), attempt=attempt,
            stream=stream,
        )  # fmt: skip
    if found is None:
        raise not_found("attempt of this step")
    return found


def _wanted(
    request: Request, found: Stream, offset: int | None, limit: int | None
) -> tuple[int, int]:
    """The first byte and the one after the last; raises Problem."""
    total = found.total
    given = request.headers.get("range")
    if offset is not None or limit is not None:
        if given is not None:
            raise invalid("offset", "a Range is given too: leave out one of the two")
        begin = offset or 0
        end = total if limit is None else min(total, begin + limit)
    else:
        matched = None if given is None else _RANGE.fullmatch(given.strip())
        if matched is None:
            return 0, total
        if matched[3] is not None:
            begin, end = max(0, total - int(matched[3])), total
        else:
            begin = int(matched[1])
            end = total if not matched[2] else min(total, int(matched[2]) + 1)
            if matched[2] and int(matched[2]) < begin:
                return 0, total
    if begin >= total and (begin or given is not None):
        told_ = f"{total} bytes are stored so far; byte {begin} is not there"
        headers = {"Content-Range": f"bytes */{total}"}
        raise Problem(416, "range_not_satisfiable", told_, headers=headers)
    return begin, end


def _pieces(parts: Parts, reader: Reader, found: Stream, begin: int, end: int) -> Iterator[bytes]:
    """Piece by piece, each with a connection of its own: a slow reader keeps none from others."""
    while begin < end:
        with parts.database.connection() as connection:
            piece = output.read(connection, reader, found, begin, end - begin)
        if not piece:
            return  # It was deleted meanwhile (retention); the client sees that it is cut.
        begin += len(piece)
        yield piece
