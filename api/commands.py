"""Commands: what a person tells an execution by the API, and what the router makes of it."""

from __future__ import annotations

from typing import Any, Final, Literal

import orjson
from pydantic import BaseModel, ConfigDict, Field

from api.caller import Caller
from api.known import KnownExecution
from api.parts import Parts
from api.problems import Problem, forbidden
from api.records import Record
from streams.answers import Verdict, verdict
from streams.audit_payloads import SIGNATURE_RULE, Audit
from streams.commands import AnyCommand, Rerun
from streams.events import Event, encode_event
from streams.ids import route_of
from streams.limits import MAX_CONTROL_BYTES
from streams.on_behalf import OnBehalfOf
from streams.payloads import Accepted
from streams.topics import CONTROL

#: How long a route waits for a router, by default and at most, in seconds.
DEFAULT_WAIT: Final = 5.0
MAX_WAIT: Final = 30.0


class Answer(BaseModel):
    """What became of a command."""

    model_config = ConfigDict(extra="forbid")

    execution_id: str = Field(description="of a rerun the new one")
    command: str
    answer: Literal["followed", "sent"] = Field(
        description="`sent`: no router has answered yet, and one will"
    )
    message: str | None = Field(default=None, description="what the router says, for a person")
    event: dict[str, Any] | None = Field(
        default=None,
        description="the event that is the answer, as on `execution.events`; null where it is sent "
        "only, and of a rerun",
    )


def behalf_of(caller: Caller) -> OnBehalfOf:
    """What the API says of the caller in whatever it signs."""
    return OnBehalfOf(caller.identity.kid or "")


async def send(
    parts: Parts, caller: Caller, known: KnownExecution, command: AnyCommand, wait: float
) -> Answer:
    """Send a command and wait for the answer; raises Problem where it is refused."""
    value = command.model_dump_json(exclude_unset=True).encode()
    if len(value) > MAX_CONTROL_BYTES:
        limit = MAX_CONTROL_BYTES // 1024
        raise Problem(413, "too_large", f"a command has at most {limit} KiB: send less")
    ident = command.execution_id
    record = Record(CONTROL, route_of(ident), value, f"control.{command.type}", ident)

    def answer(event: Event) -> Verdict | None:
        return verdict(command, event)

    found: Verdict | None = None
    if wait > 0:
        marks = [ident]
        if isinstance(command, Rerun) and command.new_execution_id is not None:
            marks.append(command.new_execution_id)
        async with parts.answers.watch(route_of(ident), *marks) as watch:
            await parts.records.send(record)
            found = await watch.first(answer, wait)
    else:
        await parts.records.send(record)
    if found is None:
        told = "it is on its topic, and a router that knows the execution will answer it"
        return Answer(execution_id=ident, command=command.type, answer="sent", message=told)
    if not found.allowed:
        raise _refused(found, caller, known, command)
    return Answer(
        execution_id=found.event.execution_id,
        command=command.type,
        answer="followed",
        message=found.message or None,
        event=_document(found.event),
    )


def _document(event: Event) -> dict[str, Any] | None:
    """The event as on its topic; an acceptance has the whole plan, which nobody waits for here."""
    if isinstance(event.data, Accepted):
        return None
    found: dict[str, Any] = orjson.loads(encode_event(event))
    return found


def _refused(found: Verdict, caller: Caller, known: KnownExecution, command: AnyCommand) -> Problem:
    data = found.event.data
    signature = isinstance(data, Audit) and data.rule == SIGNATURE_RULE
    if signature or not known.allows(caller, command.type):
        return forbidden(found.message)
    return Problem(409, "refused", found.message)
