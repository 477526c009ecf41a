"""Source of the pages that start something."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import orjson
from fastapi import Depends

from api.caller import CurrentCaller
from api.commands import DEFAULT_WAIT
from api.parts import CurrentParts, Parts
from api.reading import CurrentReader, CurrentTopics, told
from api.routes import submission
from reading import procedures
from reading.models.procedures import ProcedureDetail, ProcedureList
from reading.procedures import Applied
from reading.reader import Reader
from reading.topics import Topics
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


@dataclass(frozen=True, slots=True)
class FromTopic:
    """Procedures as they were applied last, with what was run of them."""

    reader: Reader
    topics: Topics
    parts: Parts

    def every(self) -> ProcedureList:
        """See `Procedures`."""
        return procedures.listing(self._applied().values())

    def one(self, name: str) -> ProcedureDetail | None:
        """See `Procedures`."""
        found = self._applied().get(name)
        if found is None:
            return None
        with self.parts.database.connection() as connection:
            return procedures.detail(connection, self.reader, found)

    def _applied(self) -> dict[str, Applied]:
        with told():
            return procedures.of_tenant(self.topics.procedures.read().items, self.reader.tenant)


def find_procedures(
    reader: CurrentReader, topics: CurrentTopics, parts: CurrentParts
) -> Procedures:
    """What this caller may read."""
    return FromTopic(reader, topics, parts)


CurrentProcedures = Annotated[Procedures, Depends(find_procedures)]
CurrentRequests = Annotated[Requests, Depends(ByRouter)]
