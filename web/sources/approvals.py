"""Source of the pages about approvals, and what decides them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Final, Protocol

from fastapi import Depends, Response

from api import queries
from api.caller import Caller, CurrentCaller
from api.commands import DEFAULT_WAIT
from api.parts import CurrentParts, Parts
from api.reading import CurrentReader, told
from api.routes import approvals as api_approvals
from api.routes import control
from reading import approvals
from reading.models.approvals import ApprovalPage, ApprovalRequest
from reading.reader import Reader

#: Approvals on one page of the list; each carries the calls of its plan.
PAGE: Final = 50


class Approvals(Protocol):
    """What waits for a person."""

    def page(self, after: str | None) -> ApprovalPage:
        """What waits, what expires first at the beginning."""

    def one(self, execution_id: str) -> ApprovalRequest | None:
        """What was asked for of one execution."""


class Decisions(Protocol):
    """What a person says to it; raises Problem."""

    async def approve(self, execution_id: str, plan_hash: str, reason: str | None) -> None:
        """Let the plan with this hash run."""

    async def reject(self, execution_id: str, reason: str | None) -> None:
        """End it; nothing of it was run."""


class ByCommand:
    """Decisions by the routes of the API."""

    def __init__(self, caller: CurrentCaller, parts: CurrentParts) -> None:
        """Of this caller."""
        self._caller, self._parts = caller, parts

    async def approve(self, execution_id: str, plan_hash: str, reason: str | None) -> None:
        """See `Decisions`."""
        body = control.Approval(plan_hash=plan_hash, reason=reason)
        await control.approve(
            execution_id, Response(), self._parts, self._caller, body, DEFAULT_WAIT
        )

    async def reject(self, execution_id: str, reason: str | None) -> None:
        """See `Decisions`."""
        body = control.Why(reason=reason)
        await control.reject(
            execution_id, Response(), self._parts, self._caller, body, DEFAULT_WAIT
        )


@dataclass(frozen=True, slots=True)
class FromTables:
    """Approvals as they are read from Postgres."""

    caller: Caller
    reader: Reader
    parts: Parts

    def page(self, after: str | None) -> ApprovalPage:
        """See `Approvals`."""
        may = api_approvals.may(self.caller)
        with told(), self.parts.database.connection() as connection:
            return approvals.pending(connection, self.reader, self.parts.tools, may, PAGE, after)

    def one(self, execution_id: str) -> ApprovalRequest | None:
        """See `Approvals`."""
        ident, may = queries.execution_id(execution_id), api_approvals.may(self.caller)
        with self.parts.database.connection() as connection:
            return approvals.one(connection, self.reader, self.parts.tools, may, ident)


def find_approvals(caller: CurrentCaller, reader: CurrentReader, parts: CurrentParts) -> Approvals:
    """What this caller may read."""
    return FromTables(caller, reader, parts)


CurrentApprovals = Annotated[Approvals, Depends(find_approvals)]
CurrentDecisions = Annotated[Decisions, Depends(ByCommand)]
