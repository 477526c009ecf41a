"""Source of the pages that start something."""

from __future__ import annotations

from typing import Annotated, Any, Protocol

import orjson
from fastapi import Depends

from api.caller import CurrentCaller
from api.commands import DEFAULT_WAIT
from api.parts import CurrentParts
from api.routes import submission
from reading.models.procedures import ProcedureDetail, ProcedureList
from streams.explained import Explained

#: How long a page waits for what would become of a request, in seconds.
EXPLAIN_SECONDS = 10.0


class Procedures(Protocol):
    """The procedures of the caller's tenant."""

    def every(self) -> ProcedureList:
        """All of them, by name."""

    def one(self, name: str) -> ProcedureDetail | None:
        """One of them."""


class Requests(Protocol):
    """Requests of a caller; raises Problem."""

    async def explain(self, request: dict[str, Any]) -> Explained:
        """What would become of it; nothing is run."""

    async def submit(self, request: dict[str, Any], key: str) -> str:
        """Run it once for this key; returns the id of the execution."""


class ByRouter:
    """Requests as the routes of the API send them."""

    def __init__(self, caller: CurrentCaller, parts: CurrentParts) -> None:
        """Of this caller."""
        self._caller, self._parts = caller, parts

    async def explain(self, request: dict[str, Any]) -> Explained:
        """See `Requests`."""
        body = orjson.dumps(request)
        return await submission.explained(body, self._parts, self._caller, EXPLAIN_SECONDS)

    async def submit(self, request: dict[str, Any], key: str) -> str:
        """See `Requests`."""
        body = orjson.dumps(request)
        found = await submission.submitted(body, self._parts, self._caller, key, DEFAULT_WAIT)
        return found.execution_id


def find_procedures(caller: CurrentCaller, parts: CurrentParts) -> Procedures:
    """What this caller may read."""
    raise NotImplementedError


CurrentProcedures = Annotated[Procedures, Depends(find_procedures)]
CurrentRequests = Annotated[Requests, Depends(ByRouter)]
