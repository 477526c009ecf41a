"""Queries: the forms of what a request may ask by, bounded and without what no table can hold."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import Path, Query
from pydantic import AfterValidator, BeforeValidator, WithJsonSchema

from api.problems import FieldError, Problem, not_found
from reading import moments

_IDENT: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_TEXT: Final = 300
_LARGEST: Final = 2**62


def _storable(text: str) -> str:
    # Postgres holds neither; a request can spell both.
    if "\0" in text or any("\ud800" <= sign <= "\udfff" for sign in text):
        raise ValueError("it holds a character that no text has (NUL or a half surrogate)")
    return text


def _moment(given: Any) -> datetime:
    found = moments.moment(str(given), datetime.now(UTC)) if len(str(given)) < 100 else None
    if found is None:
        raise ValueError(f"it is no moment: {moments.FORMS}")
    return found


#: Text of a filter.
Text = Annotated[str, Query(min_length=1, max_length=MAX_TEXT), AfterValidator(_storable)]
#: A moment, as people write it.
Moment = Annotated[
    datetime,
    BeforeValidator(_moment),
    WithJsonSchema({"type": "string", "maxLength": 100, "examples": ["24h", "2026-11-20T07:00"]}),
]
#: Where the next page begins.
After = Annotated[
    str | None,
    Query(max_length=1_500, description="`next` of the page before, with the same filters"),
]
#: A number of a record or event.
Number = Annotated[int, Query(ge=0, le=_LARGEST)]
#: The id of an execution; whatever else stands there names none.
Ident = Annotated[str, Path(description="id of the execution", max_length=200)]


def execution_id(text: str) -> str:
    """The id in a path; raises Problem 404 where it can be none."""
    if _IDENT.fullmatch(text) is None:
        raise not_found("execution")
    return text


def storable(text: str, what: str) -> str:
    """A name in a path; raises Problem 404 where nothing can have it."""
    try:
        return _storable(text)
    except ValueError:
        raise not_found(what) from None


def between(
    since: datetime | None, until: datetime | None, *, default: timedelta, longest: timedelta
) -> tuple[datetime, datetime]:
    """The range that is asked for, the last `default` of it by itself; raises Problem 422."""
    end = until or datetime.now(UTC)
    try:
        begin = since or end - default
        length = end - begin
    except OverflowError:
        raise invalid("since", "it is too long ago: give a range that ends later") from None
    if length <= timedelta(0):
        raise invalid("since", "it is not before `until`: give an earlier moment")
    if length > longest:
        raise invalid("since", f"the range is longer than {longest.days} days: give a shorter one")
    return begin, end


def invalid(field: str, message: str) -> Problem:
    """A parameter that means nothing; the same answer as for one of a wrong form."""
    error = FieldError(field=f"query.{field}", message=message)
    told = f"the request is not valid: {field}: {message}"
    return Problem(422, "invalid_request", told, errors=[error])
