"""Paths of approvals: what waits for a person, and what it would do."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Final, get_args

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response

from api.caller import Caller, CurrentCaller
from api.parts import CurrentParts
from api.problems import not_found
from api.queries import After, Ident, execution_id
from api.reading import RESPONSES, CurrentReader, answer, told
from reading import approvals
from reading.approvals import Asked, May
from reading.models.approvals import ApprovalPage, ApprovalRequest
from streams.actors import same_actor
from streams.vocabulary import Environment

router: Final = APIRouter(tags=["approvals"], responses=RESPONSES)

_ENVIRONMENTS: Final[tuple[Environment, ...]] = get_args(Environment)


@router.get("/approvals", response_model=ApprovalPage, summary="What waits for an approval")
def list_approvals(
    request: Request,
    parts: CurrentParts,
    caller: CurrentCaller,
    reader: CurrentReader,
    limit: Annotated[int, Query(ge=1, le=approvals.MAX_PAGE)] = 20,
    after: After = None,
) -> Response:
    """What expires first at the beginning; with the calls of each plan, counted by host."""
    with told(), parts.database.connection() as connection:
        found = approvals.pending(connection, reader, parts.tools, may(caller), limit, after)
    return answer(request, found)


@router.get("/approvals/{ident}", response_model=ApprovalRequest, summary="One approval")
def show_approval(
    request: Request,
    parts: CurrentParts,
    caller: CurrentCaller,
    reader: CurrentReader,
    ident: Ident,
) -> Response:
    """Of the execution with this id, decided or not."""
    known = execution_id(ident)
    with parts.database.connection() as connection:
        found = approvals.one(connection, reader, parts.tools, may(caller), known)
    if found is None:
        raise not_found("approval")
    return answer(request, found)


def may(caller: Caller) -> Callable[[Asked], May]:
    """What the caller may do with an approval; the router decides, this only says it before."""

    def decide(asked: Asked) -> May:
        execution, approval = asked.execution, asked.approval
        environment = next((e for e in _ENVIRONMENTS if e == execution.environment), None)
        if environment is None or execution.actor is None or execution.approval_level is None:
            return May(False, False, "what it is about is not known here")
        if approval.state != "pending":
            return May(False, False, f"it is {approval.state} already")
        level, actor = execution.approval_level, execution.actor
        approve = caller.rights.control("approve", environment, level, actor)
        reject = caller.rights.control("reject", environment, level, actor)
        why_not = None if approve.allowed else approve.message
        if caller.read_only:
            why_not = "the token is for reading only"
        elif any(same_actor(caller.actor, other) for other in (actor, *asked.earlier_actors)):
            why_not = "you asked for it, so somebody else must approve it"
        elif any(
            one.approved and same_actor(caller.actor, one.actor) for one in approval.decisions
        ):
            why_not = "you have approved it already, and it needs others too"
        return May(why_not is None, reject.allowed and not caller.read_only, why_not)

    return decide
