"""Dead letters: by topic and class, one with its content, and redriving."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import Depends, Form, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.caller import CurrentCaller
from api.problems import not_found
from web.routing import router
from web.sources.dead_letters import CurrentLetters, CurrentRedriving
from web.templating import page
from web.views.dead_letters import (
    DEFAULT_RANGE,
    RANGES,
    LetterFilters,
    dead_letters,
    letter_view,
)
from web.views.redriving import command_of, outcome, trial

letters = router()

_PAGE: Final = 50
#: Records that are redriven at once: the page waits for them.
MAX_REDRIVE: Final = 100

_Text = Annotated[str, Query(max_length=300)]


def _asked(
    since: _Text = DEFAULT_RANGE, topic: _Text = "", error_class: _Text = "", execution: _Text = ""
) -> LetterFilters:
    known = since if since in RANGES else DEFAULT_RANGE
    return LetterFilters(known, topic, error_class, execution.strip())


_Filters = Annotated[LetterFilters, Depends(_asked)]


@letters.get("/dead-letters")
def show_letters(
    request: Request,
    caller: CurrentCaller,
    source: CurrentLetters,
    filters: _Filters,
    after: Annotated[str | None, Query(max_length=1_500)] = None,
) -> Response:
    """Dead letters of a range, by topic and class and one by one."""
    found = dead_letters(source.page(filters, after, _PAGE), source.counts(filters), filters, after)
    return page(request, "dead_letters.html", list=found)


@letters.get("/dead-letters/redrive")
def ask_redrive(
    request: Request, caller: CurrentCaller, source: CurrentLetters, filters: _Filters
) -> Response:
    """What redriving by this filter would do; nothing is done."""
    found = source.page(filters, None, MAX_REDRIVE)
    return page(request, "redrive.html", trial=trial(found, filters, MAX_REDRIVE), outcome=None)


@letters.post("/dead-letters/redrive")
async def redrive_many(
    request: Request,
    caller: CurrentCaller,
    source: CurrentLetters,
    redriving: CurrentRedriving,
    filters: _Filters,
    before: Annotated[str, Form(max_length=40)],
) -> Response:
    """Redrive what the filter said when it was shown; what came later is left."""
    found = await run_in_threadpool(source.page, filters, None, MAX_REDRIVE)
    shown = trial(found, filters, MAX_REDRIVE)
    results = await redriving.redrive(shown.steps_up_to(before))
    return page(request, "redrive.html", trial=shown, outcome=outcome(results))


@letters.get("/dead-letters/{topic}/{partition}/{offset}")
def show_letter(
    request: Request,
    topic: str,
    partition: int,
    offset: int,
    caller: CurrentCaller,
    source: CurrentLetters,
) -> Response:
    """One dead letter: key, value, headers and times."""
    found = source.one(topic, partition, offset)
    if found is None:
        raise not_found("dead letter")
    return page(
        request,
        "dead_letter.html",
        view=letter_view(found),
        command=command_of(found),
        outcome=None,
    )


@letters.post("/dead-letters/{topic}/{partition}/{offset}")
async def redrive_one(
    request: Request,
    topic: str,
    partition: int,
    offset: int,
    caller: CurrentCaller,
    source: CurrentLetters,
    redriving: CurrentRedriving,
) -> Response:
    """Redrive this one."""
    found = await run_in_threadpool(source.one, topic, partition, offset)
    if found is None:
        raise not_found("dead letter")
    results = await redriving.redrive([found])
    return page(
        request, "dead_letter.html", view=letter_view(found), command=command_of(found),
        outcome=outcome(results),
    )  # fmt: skip
