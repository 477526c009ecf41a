"""Control: what a person does about an execution that there is."""

from __future__ import annotations

import secrets
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Body, Response
from pydantic import BaseModel, ConfigDict, Field

from api import known
from api.caller import Caller, CurrentCaller
from api.commands import DEFAULT_WAIT, Answer, behalf_of, send
from api.known import ExecutionId
from api.parts import CurrentParts, Parts
from api.problems import described
from api.routes.submission import Wait
from authority.policy_document import Verb
from runtime import clock
from streams.commands import CONTROL_COMMAND
from streams.ids import mint_execution_id, route_of
from streams.plans import StepId

router: Final = APIRouter(tags=["control"], prefix="/executions/{ident}")

_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": Answer, "description": "sent; no router has answered in time"},
    **described(401, 403, 404, 409, 413, 422, 503),
}
_Text = Annotated[str | None, Field(max_length=1_000, description="for people, in the log")]


class Why(BaseModel):
    """Why it is done."""

    model_config = ConfigDict(extra="forbid")

    reason: _Text = None


class Approval(Why):
    """The approval of a plan that was read."""

    plan_hash: str = Field(
        min_length=1, max_length=64, description="of the plan that was read; another is refused"
    )


class Rerun(Why):
    """What is repeated."""

    from_step: StepId | None = Field(
        default=None, description="this step and what follows it; what did not succeed if left out"
    )


class Resolution(Why):
    """What became of a step whose outcome is unknown."""

    step: str = Field(min_length=1, max_length=80)
    outcome: Literal["succeeded", "failed", "retry"]
    output: dict[str, Any] | None = Field(default=None, description="for later steps to use")


class Redrive(Why):
    """Which step is run again, with what follows it."""

    step: str = Field(min_length=1, max_length=80)


Reason = Annotated[Why, Body(default_factory=Why)]


@router.post("/cancel", summary="End it", responses=_RESPONSES)
async def cancel(
    ident: ExecutionId,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    body: Reason,
    wait: Wait = DEFAULT_WAIT,
) -> Answer:
    """Nothing new starts, and what runs is stopped."""
    return await _command("cancel", ident, response, parts, caller, body, wait)


@router.post("/approve", summary="Approve it", responses=_RESPONSES)
async def approve(
    ident: ExecutionId,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    body: Approval,
    wait: Wait = DEFAULT_WAIT,
) -> Answer:
    """Let a plan run that waits for it; never by one who asked for it."""
    return await _command("approve", ident, response, parts, caller, body, wait)


@router.post("/reject", summary="Refuse to approve it", responses=_RESPONSES)
async def reject(
    ident: ExecutionId,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    body: Reason,
    wait: Wait = DEFAULT_WAIT,
) -> Answer:
    """It ends, and nothing of it was run."""
    return await _command("reject", ident, response, parts, caller, body, wait)


@router.post("/pause", summary="Start no further step of it", responses=_RESPONSES)
async def pause(
    ident: ExecutionId,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    body: Reason,
    wait: Wait = DEFAULT_WAIT,
) -> Answer:
    """What runs goes on to its end."""
    return await _command("pause", ident, response, parts, caller, body, wait)


@router.post("/resume", summary="Go on after a pause", responses=_RESPONSES)
async def resume(
    ident: ExecutionId,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    body: Reason,
    wait: Wait = DEFAULT_WAIT,
) -> Answer:
    """Steps start again."""
    return await _command("resume", ident, response, parts, caller, body, wait)


@router.post("/rerun", summary="Run what did not succeed again", responses=_RESPONSES)
async def rerun(
    ident: ExecutionId,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    body: Annotated[Rerun, Body(default_factory=Rerun)],
    wait: Wait = DEFAULT_WAIT,
) -> Answer:
    """As a new execution, which keeps the earlier outputs; the answer has its id."""
    found = await _command("rerun", ident, response, parts, caller, body, wait)
    response.headers["Location"] = f"/v1/executions/{found.execution_id}"
    return found


@router.post("/resolve", summary="Say how a step ended", responses=_RESPONSES)
async def resolve(
    ident: ExecutionId,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    body: Resolution,
    wait: Wait = DEFAULT_WAIT,
) -> Answer:
    """For a step whose attempt was lost, and needs attention."""
    return await _command("resolve", ident, response, parts, caller, body, wait)


@router.post("/redrive", summary="Run an exhausted step again", responses=_RESPONSES)
async def redrive(
    ident: ExecutionId,
    response: Response,
    parts: CurrentParts,
    caller: CurrentCaller,
    body: Redrive,
    wait: Wait = DEFAULT_WAIT,
) -> Answer:
    """As a rerun that starts at this step; the answer has the id of the new execution."""
    found = await _command("redrive", ident, response, parts, caller, body, wait)
    response.headers["Location"] = f"/v1/executions/{found.execution_id}"
    return found


async def _command(
    verb: Verb,
    ident: str,
    response: Response,
    parts: Parts,
    caller: Caller,
    body: Why,
    wait: float,
) -> Answer:
    about = await known.find(parts.database, ident, caller, verb)
    more: dict[str, str] = {}
    if verb == "rerun":
        # Both must be in the same partition, so they have the same route key.
        bits, now_ms = secrets.randbits(42), int(clock.now() * 1_000)
        more["new_execution_id"] = mint_execution_id(route_of(ident), now_ms, bits)
    command = CONTROL_COMMAND.validate_python(
        {
            "type": verb,
            "execution_id": ident,
            "actor": caller.actor,
            "on_behalf_of": behalf_of(caller),
            **body.model_dump(exclude_none=True),
            **more,
        }
    )
    found = await send(parts, caller, about, command, wait)
    if found.answer == "sent":
        response.status_code = 202
    return found
