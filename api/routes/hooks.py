"""Webhooks: what arrives from other systems, written to the topic that triggers read."""

from __future__ import annotations

import asyncio
import math
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Depends, Path, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import ClientDisconnect

from api.hooks import proof
from api.hooks.hooks import Hooks, KnownHook
from api.hooks.proof import Incomplete, Proven, Unproven
from api.parts import CurrentParts
from api.problems import Problem, described, unauthorized
from api.records import Record
from runtime import clock
from streams.timestamps import iso
from streams.topics import HOOKS

router: Final = APIRouter(tags=["hooks"])

#: How long Kafka may take, in seconds: senders wait for ten.
KAFKA_SECONDS: Final = 8.0
_REFUSED: Final = (
    "no hook takes this delivery: check the name in the path, the secret, and how it is sent"
)
_OPENAPI: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": {"description": "whatever the sender has to say"}}
        },
    }
}


class Delivered(BaseModel):
    """A delivery that triggers will see."""

    model_config = ConfigDict(extra="forbid")

    hook: str
    delivery: str = Field(description="its id; the same when it is sent again")


def find_hooks(request: Request) -> Hooks | None:
    """The hooks of the process, if it has some."""
    parts = request.app.state.parts
    return None if parts is None else parts.hooks


@router.post(
    "/hooks/{name}",
    status_code=202,
    summary="Take what a webhook brings",
    responses=described(400, 401, 408, 413, 415, 429, 503),
    openapi_extra=_OPENAPI,
)
async def receive_hook(
    name: Annotated[str, Path(description="a hook of RUNSTREAM_HOOKS")],
    request: Request,
    parts: CurrentParts,
    hooks: Annotated[Hooks | None, Depends(find_hooks)],
) -> Delivered:
    """The answer is 202 once Kafka has it; triggers decide what it starts, with their rights.

    It is authenticated by the secret of the hook, not by a token. Who cannot prove that gets the
    same 401, whether there is such a hook or not.
    """
    # For unknown names too: else the time and the limits of an answer would say which there are.
    try:
        body = await request.body()
    except ClientDisconnect:
        raise Problem(400, "invalid_request", "the body did not arrive whole") from None
    if hooks is None:
        raise unauthorized(_REFUSED)
    known = hooks.find(name)
    if known is None:
        parts.log.warning("hook refused", hook=name[:100], why="there is no hook of this name")
        raise unauthorized(_REFUSED)
    found = proof.check(known.hook, known.keys, request.headers, body, clock.now())
    if isinstance(found, Unproven):
        parts.log.warning("hook refused", hook=name, why=found.why)
        raise unauthorized(_REFUSED)
    wait = known.pace.wait(clock.monotonic())
    if wait > 0:
        raise _too_many(known, wait)
    if isinstance(found, Incomplete):
        raise Problem(400, "invalid_request", found.what)
    _refuse_other_than_json(request, body)
    await _send(parts, known, found, body)
    return Delivered(hook=name, delivery=found.delivery)


def _too_many(known: KnownHook, wait: float) -> Problem:
    limit = known.hook.limit
    told = f"this hook takes {limit.deliveries} deliveries in {limit.per_seconds} s: send it later"
    return Problem(429, "limited", told, headers={"Retry-After": str(math.ceil(wait))})


def _refuse_other_than_json(request: Request, body: bytes) -> None:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json" and not (
        kind.startswith("application/") and kind.endswith("+json")
    ):
        told = "a delivery is application/json: set the content type at the sender"
        raise Problem(415, "not_json", told)
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        raise Problem(400, "invalid_request", "the body is not valid JSON in UTF-8") from None


async def _send(parts: CurrentParts, known: KnownHook, found: Proven, body: bytes) -> None:
    """Return when Kafka has it; raises Problem."""
    name = known.hook.name
    document = {
        "hook": name,
        "kind": known.hook.kind,
        "delivery": found.delivery,
        "event": found.event,
        "received_at": iso(clock.now()),
        # As it was sent: numbers keep their digits.
        "body": orjson.Fragment(body),
    }
    record = Record(
        HOOKS, name, orjson.dumps(document), "hook.delivery", name, f"{name}:{found.delivery}"
    )
    told = "Kafka has not taken the delivery in time: send it again, with the same id"
    again = Problem(503, "unavailable", told, headers={"Retry-After": "2"})
    try:
        async with asyncio.timeout(KAFKA_SECONDS):
            await parts.records.send(record)
    except TimeoutError:
        raise again from None
    except Problem as problem:
        if problem.document.status != 503:
            raise
        parts.log.warning("a delivery was not taken", hook=name, why=problem.document.detail)
        raise again from None
