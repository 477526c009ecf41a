"""Reading: what the routes that only read have in common."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import Response

from api.caller import CurrentCaller
from api.parts import CurrentParts
from api.problems import Problem, unavailable
from api.queries import invalid
from reading.compacted import Unavailable
from reading.cursors import CursorError
from reading.reader import Reader
from reading.topics import Topics

if TYPE_CHECKING:
    from pydantic import BaseModel


#: What a reader may keep; it asks each time whether it still counts.
_CACHE: Final = "private, no-cache"


_MAKING: Final = threading.Lock()


def find_topics(request: Request, parts: CurrentParts) -> Topics:
    """Those of the process that answers this request; made when somebody asks first."""
    with _MAKING:
        found = getattr(request.app.state, "topics", None)
        if not isinstance(found, Topics):
            found = request.app.state.topics = Topics(parts.settings)
        return found


def find_reader(caller: CurrentCaller) -> Reader:
    """Who reads, and which executions the policy lets them see."""
    visible = caller.rights.visible()
    return Reader(caller.tenant, caller.actor, visible.own, visible.others)


CurrentTopics = Annotated[Topics, Depends(find_topics)]
CurrentReader = Annotated[Reader, Depends(find_reader)]


@contextmanager
def told() -> Iterator[None]:
    """Answer what the queries raise: a cursor that is none, a topic that cannot be read."""
    try:
        yield
    except CursorError as error:
        raise invalid("after", str(error)) from None
    except Unavailable as error:
        problem = unavailable("Kafka", "see that it runs")
        raise Problem(503, "unavailable", str(error), headers=problem.headers) from None


def answer(request: Request, model: BaseModel) -> Response:
    """The model as JSON with an ETag; 304 where the caller has it already."""
    body = model.model_dump_json().encode()
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": _CACHE}
    if matches(request.headers.get("if-none-match"), tag):
        return Response(status_code=304, headers=headers)
    return Response(body, media_type="application/json", headers=headers)


def matches(given: str | None, tag: str) -> bool:
    """Whether a list of tags (If-None-Match) has this one; compared as weak ones."""
    if given is None:
        return False
    tags = {one.strip().removeprefix("W/") for one in given.split(",")}
    return "*" in tags or tag in tags


#: What every path that reads may answer besides its model.
RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    304: {"description": "what the caller has (If-None-Match) is still the answer"},
    401: {"description": "no token, or one that does not count"},
    404: {"description": "there is none that the caller may see"},
    422: {"description": "a parameter is not valid"},
    503: {"description": "Postgres or Kafka does not answer now"},
}
