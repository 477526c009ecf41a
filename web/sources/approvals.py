"""Source of the pages about approvals, and what decides them."""

from __future__ import annotations

from typing import Annotated, Protocol

from fastapi import Depends, Response

from api.caller import CurrentCaller
from api.commands import DEFAULT_WAIT
from api.parts import CurrentParts
from api.routes import control
from reading.models.approvals import ApprovalPage, ApprovalRequest


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


def find_approvals(caller: CurrentCaller, parts: CurrentParts) -> Approvals:
    """What this caller may read."""
    raise NotImplementedError


CurrentApprovals = Annotated[Approvals, Depends(find_approvals)]
CurrentDecisions = Annotated[Decisions, Depends(ByCommand)]
