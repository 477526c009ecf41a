"""Submission: a request to execute something, and what would become of it."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Header, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.caller import Caller, CurrentCaller
from api.commands import DEFAULT_WAIT, MAX_WAIT
from api.parts import CurrentParts, Parts
from api.prepared import Prepared, idempotency_key, prepare
from api.problems import FieldError, Problem, described
from api.records import Record
from runtime import clock
from streams.answers import answers_request
from streams.events import Event
from streams.explained import Explained
from streams.payloads import Duplicate, Rejected
from streams.problems import RejectedReason
from streams.topics import REQUESTS
from streams.trace_context import TRACEPARENT, trace_parent

router: Final = APIRouter(tags=["executions"])

Wait = Annotated[
    float,
    Query(ge=0, le=MAX_WAIT, description="seconds to wait for a router; 0: send it, do not wait"),
]
Key = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        max_length=258,
        description="the same key runs once, however often it is sent",
    ),
]

_STATUS: Final[dict[RejectedReason, int]] = {
    "invalid": 422,
    "too_large": 413,
    "conflict": 409,
    "forbidden": 403,
    "not_authentic": 403,
    "quota": 429,
    "not_approved": 409,
    "approval_expired": 409,
}
_BODY: Final[dict[str, Any]] = {
    "type": "object",
    "description": 'an execution request as on `execution.requests`: `{"plan": {...}}`, a plan '
    'alone (`{"steps": [...]}`), or `{"procedure": "name", "inputs": {...}}`. Tenant and '
    "actor are those of the token.",
    "properties": {
        "plan": {"type": "object", "description": "see docs/plans.md"},
        "steps": {"type": "array", "items": {"type": "object"}},
        "procedure": {"type": "string"},
        "version": {"type": "string"},
        "inputs": {"type": "object"},
        "idempotency_key": {"type": "string", "minLength": 1, "maxLength": 256},
        "execution_id": {"type": "string", "description": "minted where it is left out"},
    },
    "example": {"steps": [{"tool": "uptime", "parameters": {"host": "web-01"}}]},
}
_OPENAPI: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {"application/json": {"schema": _BODY}}}
}


class Submitted(BaseModel):
    """What became of a request."""

    model_config = ConfigDict(extra="forbid")

    execution_id: str = Field(description="of a repeated request that of the first one")
    answer: Literal["accepted", "duplicate", "sent"] = Field(
        description="`sent`: no router has answered yet; it will run, or be rejected, later"
    )
    tenant: str
    idempotency_key: str


@router.post(
    "/executions",
    status_code=201,
    summary="Submit a plan, or a procedure",
    responses={
        200: {"model": Submitted, "description": "the same request was submitted before"},
        202: {"model": Submitted, "description": "sent; no router has answered in time"},
        **described(401, 403, 409, 413, 415, 422, 429, 503),
    },
    openapi_extra=_OPENAPI,
)
async def submit(
    request: Request,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    key: Key = None,
    wait: Wait = DEFAULT_WAIT,
) -> Submitted:
    """Run it, with the rights of the token's actor.

    What is refused is a problem: 422 with each field of the plan that is wrong, 403 where the
    policy does not allow it, 409 where the idempotency key was used for another plan, 429 where the
    tenant has no quota left.
    """
    body, trace = await _json(request), _trace(request)
    found = await submitted(body, parts, caller, idempotency_key(key), wait, trace)
    response.status_code = {"accepted": 201, "duplicate": 200, "sent": 202}[found.answer]
    response.headers["Location"] = f"/v1/executions/{found.execution_id}"
    return found


async def submitted(
    body: bytes,
    parts: Parts,
    caller: Caller,
    key: str | None,
    wait: float,
    traceparent: bytes | None = None,
) -> Submitted:
    """Run the request in a body, and wait for the router; raises Problem where it is refused."""
    asked = prepare(
        body,
        caller,
        key,
        explain=False,
        unix_ms=int(clock.now() * 1_000),
        random_bits=secrets.randbits(86),
    )
    event = await _sent(parts, asked, wait, traceparent)
    if event is not None and isinstance(event.data, Rejected):
        raise _refused(event, event.data)
    answer: Literal["accepted", "duplicate", "sent"] = "accepted"
    ident = asked.execution_id
    if event is None:
        answer = "sent"
    elif isinstance(event.data, Duplicate):
        answer, ident = "duplicate", event.execution_id
    return Submitted(
        execution_id=ident,
        answer=answer,
        tenant=asked.tenant,
        idempotency_key=asked.idempotency_key,
    )


@router.post(
    "/explain",
    summary="Say what would become of a request, and run nothing",
    responses=described(401, 403, 413, 415, 422, 503),
    openapi_extra=_OPENAPI,
)
async def explain(
    request: Request,
    parts: CurrentParts,
    caller: CurrentCaller,
    wait: Annotated[float, Query(gt=0, le=MAX_WAIT, description="seconds")] = 10.0,
) -> Explained:
    """The router's own answer: rights, approvals and calls, or every problem."""
    return await explained(await _json(request), parts, caller, wait)


async def explained(body: bytes, parts: Parts, caller: Caller, wait: float) -> Explained:
    """What would become of the request in a body; raises Problem."""
    asked = prepare(
        body,
        caller,
        None,
        explain=True,
        unix_ms=int(clock.now() * 1_000),
        random_bits=secrets.randbits(86),
    )
    event = await _sent(parts, asked, wait, None)
    if event is not None and isinstance(event.data, Rejected):
        raise _refused(event, event.data)
    if event is None or not isinstance(event.data, Explained):
        told = f"no router has answered within {wait:g} s: see that one runs (runstream status)"
        raise Problem(503, "unavailable", told, headers={"Retry-After": "2"})
    return event.data


async def _json(request: Request) -> bytes:
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip()
    if kind.lower() != "application/json":
        raise Problem(415, "not_json", "a request is application/json: set Content-Type")
    return await request.body()


def _trace(request: Request) -> bytes | None:
    """The trace that the caller has begun, if its header is one."""
    return trace_parent([(TRACEPARENT, request.headers.get(TRACEPARENT, "").encode())])


async def _sent(
    parts: Parts, asked: Prepared, wait: float, traceparent: bytes | None
) -> Event | None:
    """The event that is the answer, if one comes within so many seconds."""
    record = Record(
        REQUESTS,
        asked.route,
        asked.value,
        "execution.request",
        asked.execution_id,
        traceparent=traceparent,
    )
    if wait <= 0:
        await parts.records.send(record)
        return None

    def answer(event: Event) -> Event | None:
        mine = answers_request(event, asked.execution_id, asked.tenant, asked.idempotency_key)
        return event if mine else None

    async with parts.answers.watch(asked.route, asked.execution_id, asked.idempotency_key) as watch:
        await parts.records.send(record)
        return await watch.first(answer, wait)


def _refused(event: Event, data: Rejected) -> Problem:
    errors = [FieldError(field=one.field, message=one.message) for one in data.problems]
    told = data.message
    if data.conflicts_with is not None:
        told = f"{told} (execution {data.conflicts_with})"
    return Problem(
        _STATUS[data.reason],
        data.reason if data.reason != "invalid" else "invalid_plan",
        told,
        errors=errors,
        execution_id=event.execution_id,
    )
