"""Control of what starts procedures by itself: schedules and triggers are paused, resumed, run."""

from __future__ import annotations

import asyncio
import re
import secrets
from typing import Annotated, Any, Final, Literal

import orjson
from fastapi import APIRouter, Body, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api.caller import Caller, CurrentCaller
from api.commands import DEFAULT_WAIT, behalf_of
from api.database import Database
from api.parts import CurrentParts, Parts
from api.problems import Problem, described, forbidden, not_found
from api.reading import CurrentTopics, told
from api.records import Record
from api.routes.submission import Wait
from authority.policy import Control
from reading import schedules, triggers
from reading.topics import Topics
from runtime import clock
from streams.procedures import record_key
from streams.schedules import RunSchedule
from streams.started import STARTER_NAME
from streams.starter_commands import Pause, Resume
from streams.topics import SCHEDULE_COMMANDS, TRIGGER_COMMANDS, Topic

router: Final = APIRouter(tags=["schedules and triggers"])

Kind = Literal["schedule", "trigger"]
Name = Annotated[str, Path(max_length=200)]

_COMMANDS: Final[dict[Kind, Topic]] = {"schedule": SCHEDULE_COMMANDS, "trigger": TRIGGER_COMMANDS}
_POLL_SECONDS: Final = 0.25
#: What a router could not follow is a dead letter, which the sink keeps.
_REFUSED: Final = """
SELECT error_message FROM execution.execution_dlq
WHERE at > now() - interval '5 minutes' AND headers ->> 'ce_id' = %(ident)s LIMIT 1
"""


class Why(BaseModel):
    """Why it is done."""

    model_config = ConfigDict(extra="forbid")

    reason: str | None = Field(default=None, max_length=1_000)


class Followed(BaseModel):
    """What became of a command."""

    model_config = ConfigDict(extra="forbid")

    name: str
    command: str
    answer: Literal["followed", "sent"] = Field(
        description="`sent`: no router has answered yet, and one will"
    )


_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    202: {"model": Followed, "description": "sent; no router has answered in time"},
    **described(401, 403, 404, 409, 422, 503),
}


@router.post("/schedules/{name}/pause", summary="Start nothing by it", responses=_RESPONSES)
async def pause_schedule(
    name: Name,
    response: Response,
    parts: CurrentParts,
    topics: CurrentTopics,
    caller: CurrentCaller,
    body: Annotated[Why, Body(default_factory=Why)],
    wait: Wait = DEFAULT_WAIT,
) -> Followed:
    """Until it is resumed; what it has started goes on."""
    command = Pause(name=_checked("schedule", name), reason=body.reason)
    return await _command("schedule", command, response, parts, topics, caller, wait)


@router.post("/schedules/{name}/resume", summary="Start by it again", responses=_RESPONSES)
async def resume_schedule(
    name: Name,
    response: Response,
    parts: CurrentParts,
    topics: CurrentTopics,
    caller: CurrentCaller,
    wait: Wait = DEFAULT_WAIT,
) -> Followed:
    """From now on."""
    command = Resume(name=_checked("schedule", name))
    return await _command("schedule", command, response, parts, topics, caller, wait)


@router.post("/schedules/{name}/run", summary="Run it now", responses=_RESPONSES)
async def run_schedule(
    name: Name,
    response: Response,
    parts: CurrentParts,
    topics: CurrentTopics,
    caller: CurrentCaller,
    wait: Wait = DEFAULT_WAIT,
) -> Followed:
    """Beside its moments."""
    command = RunSchedule(name=_checked("schedule", name))
    return await _command("schedule", command, response, parts, topics, caller, wait)


@router.post("/triggers/{name}/pause", summary="Start nothing by it", responses=_RESPONSES)
async def pause_trigger(
    name: Name,
    response: Response,
    parts: CurrentParts,
    topics: CurrentTopics,
    caller: CurrentCaller,
    body: Annotated[Why, Body(default_factory=Why)],
    wait: Wait = DEFAULT_WAIT,
) -> Followed:
    """Until it is resumed; what it has started goes on."""
    command = Pause(name=_checked("trigger", name), reason=body.reason)
    return await _command("trigger", command, response, parts, topics, caller, wait)


@router.post("/triggers/{name}/resume", summary="Start by it again", responses=_RESPONSES)
async def resume_trigger(
    name: Name,
    response: Response,
    parts: CurrentParts,
    topics: CurrentTopics,
    caller: CurrentCaller,
    wait: Wait = DEFAULT_WAIT,
) -> Followed:
    """For records from now on."""
    command = Resume(name=_checked("trigger", name))
    return await _command("trigger", command, response, parts, topics, caller, wait)


def _checked(kind: Kind, name: str) -> str:
    """A name that one can have; of any other there is none."""
    if re.fullmatch(STARTER_NAME, name) is None:
        raise not_found(kind)
    return name


async def _command(
    kind: Kind,
    command: Pause | Resume | RunSchedule,
    response: Response,
    parts: Parts,
    topics: Topics,
    caller: Caller,
    wait: float,
) -> Followed:
    if await run_in_threadpool(_followed, kind, topics, caller.tenant, command.name) is None:
        raise not_found(kind)
    verdict = caller.rights.policy.decide(caller.identity, Control("apply", "prod", 0, True))
    if not verdict.allowed:
        raise forbidden(verdict.message)
    said = {"tenant": caller.tenant, "actor": caller.actor, "on_behalf_of": behalf_of(caller)}
    document = {
        "type": command.type,
        **command.model_copy(update=said).model_dump(mode="json", exclude_none=True),
    }
    key = record_key(caller.tenant, command.name)
    ident = secrets.token_hex(16)
    record = Record(
        _COMMANDS[kind], key, orjson.dumps(document), f"{kind}.{command.type}", key, ident
    )
    await parts.records.send(record)
    until = clock.monotonic() + wait
    while (left := until - clock.monotonic()) > 0:
        await asyncio.sleep(min(_POLL_SECONDS, left))
        followed = await run_in_threadpool(_followed, kind, topics, caller.tenant, command.name)
        if followed is not None and ident in followed:
            return Followed(name=command.name, command=command.type, answer="followed")
        refused = await run_in_threadpool(_refused, parts.database, ident)
        if refused is not None:
            raise Problem(409, "refused", refused)
    response.status_code = 202
    return Followed(name=command.name, command=command.type, answer="sent")


def _followed(kind: Kind, topics: Topics, tenant: str, name: str) -> list[str] | None:
    """The ids of the last commands that were followed; None where there is no such one."""
    with told():
        if kind == "schedule":
            schedule = schedules.of_tenant(topics.schedules.read().items, tenant).get(name)
            return None if schedule is None else schedule.followed
        trigger = triggers.of_tenant(topics.triggers.read().items, tenant).get(name)
        return None if trigger is None else trigger.followed


def _refused(database: Database, ident: str) -> str | None:
    with database.connection() as connection:
        row = connection.execute(_REFUSED, {"ident": ident}).fetchone()
    return None if row is None else str(row["error_message"] or "it cannot be followed")
