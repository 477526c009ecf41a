"""Redriving: steps after their last attempt are run again, by one dead letter or by many."""

from __future__ import annotations

from typing import Annotated, Final

import orjson
from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field
from starlette.concurrency import run_in_threadpool

from api import known
from api.caller import Caller, CurrentCaller
from api.commands import DEFAULT_WAIT, MAX_WAIT, behalf_of, send
from api.parts import CurrentParts, Parts
from api.problems import Problem, described
from api.reading import CurrentReader
from reading import letters as stored
from reading.models.dead_letters import DeadLetter, DeadLetterSummary
from reading.reader import Reader
from streams.commands import Redrive

router: Final = APIRouter(tags=["dead letters"])

#: Dead letters of one call.
MAX_LETTERS: Final = 200
_TEXT: Final = Field(default=None, min_length=1, max_length=300, pattern=r"^[^\x00]*$")
_BY_HAND: Final = (
    "its record goes to its topic again, which the API may not write: runstream dlq redrive"
)


class Place(BaseModel):
    """Where one dead letter stands."""

    model_config = ConfigDict(extra="forbid")

    topic: str = Field(min_length=1, max_length=300, pattern=r"^[^\x00]*$")
    partition: int = Field(ge=0, le=2**31 - 1)
    offset: int = Field(ge=0, le=2**63 - 1)


class Wanted(BaseModel):
    """Which dead letters: these, or all that a filter finds, the newest first."""

    model_config = ConfigDict(extra="forbid")

    letters: list[Place] | None = Field(default=None, min_length=1, max_length=MAX_LETTERS)
    topic: str | None = _TEXT
    error_class: str | None = _TEXT
    execution_id: str | None = _TEXT
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None
    limit: int = Field(default=100, ge=1, le=MAX_LETTERS)
    dry_run: bool = Field(default=False, description="say what would be redriven, and do nothing")
    reason: str | None = Field(default=None, max_length=1_000)

    @property
    def filter(self) -> stored.Filter:
        """The same as the list of dead letters takes it."""
        return stored.Filter(
            self.topic, self.error_class, self.execution_id, self.since, self.until
        )


class Redriven(Place):
    """A dead letter whose step runs again."""

    execution_id: str
    step: str
    new_execution_id: str | None = Field(
        description="null where it was not waited for, or of a dry run"
    )


class Refused(Place):
    """A dead letter that is left as it is."""

    reason: str


class Outcome(BaseModel):
    """What was done, or with `dry_run` would be."""

    model_config = ConfigDict(extra="forbid")

    dry_run: bool
    redriven: list[Redriven]
    refused: list[Refused]


@router.post(
    "/dead-letters/redrive",
    summary="Run the steps of dead letters again",
    responses=described(401, 403, 422, 503),
)
async def redrive(
    body: Wanted,
    parts: CurrentParts,
    caller: CurrentCaller,
    reader: CurrentReader,
    wait: Annotated[
        float, Query(ge=0, le=MAX_WAIT, description="seconds to wait, where it is one letter")
    ] = DEFAULT_WAIT,
) -> Outcome:
    """Each becomes a rerun from the step that was given up; the dead letters stay where they are.

    Several letters of one step are one rerun.
    """
    found, refused = await run_in_threadpool(_find, parts, reader, body)
    redriven: list[Redriven] = []
    seen: set[tuple[str, str]] = set()
    for letter in found:
        place = _place(letter)
        about = _step_of(letter)
        if letter.redrive != "rerun" or about is None:
            refused.append(_refused(place, _BY_HAND))
            continue
        if about in seen:
            continue
        seen.add(about)
        fresh: str | None = None
        if not body.dry_run:
            try:
                fresh = await _send(parts, caller, about, body, wait if len(found) == 1 else 0.0)
            except Problem as problem:
                if problem.document.status == 503:
                    raise
                refused.append(_refused(place, problem.document.detail))
                continue
        redriven.append(
            Redriven(
                topic=place.topic,
                partition=place.partition,
                offset=place.offset,
                execution_id=about[0],
                step=about[1],
                new_execution_id=fresh,
            )
        )
    return Outcome(dry_run=body.dry_run, redriven=redriven, refused=refused)


async def _send(
    parts: Parts, caller: Caller, about: tuple[str, str], body: Wanted, wait: float
) -> str | None:
    ident, step = about
    execution = await known.find(parts.database, ident, caller, "redrive")
    command = Redrive(
        type="redrive",
        execution_id=ident,
        step=step,
        actor=caller.actor,
        on_behalf_of=behalf_of(caller),
        reason=body.reason or "dead letter",
    )
    answer = await send(parts, caller, execution, command, wait)
    return answer.execution_id if answer.answer == "followed" else None


def _find(parts: Parts, reader: Reader, wanted: Wanted) -> tuple[list[DeadLetter], list[Refused]]:
    """The letters with their content, and those that there are not for this reader."""
    found: list[DeadLetter] = []
    missing: list[Refused] = []
    with parts.database.connection() as connection:
        places = wanted.letters
        if places is None:
            page = stored.page(connection, reader, wanted.filter, wanted.limit)
            places = [_place(one) for one in page.letters]
        for place in places:
            letter = stored.one(connection, reader, place.topic, place.partition, place.offset)
            if letter is None:
                told = "there is no dead letter here that you may see"
                missing.append(_refused(place, told))
            else:
                found.append(letter)
    return found, missing


def _place(letter: DeadLetterSummary) -> Place:
    return Place(topic=letter.topic, partition=letter.partition, offset=letter.offset)


def _refused(place: Place, reason: str) -> Refused:
    return Refused(topic=place.topic, partition=place.partition, offset=place.offset, reason=reason)


def _step_of(letter: DeadLetter) -> tuple[str, str] | None:
    """Execution and step of the command in an exhausted dead letter."""
    if letter.value is None or letter.value.encoding != "text" or letter.execution_id is None:
        return None
    try:
        command = orjson.loads(letter.value.text)
    except orjson.JSONDecodeError:
        return None
    step = command.get("step") if isinstance(command, dict) else None
    return (letter.execution_id, step) if isinstance(step, str) and 0 < len(step) <= 80 else None
