"""Approvals: what waits for a person, and the decision about it."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import Form, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from api.caller import CurrentCaller
from api.problems import Problem, not_found
from web.routing import redirect, router
from web.sources.approvals import CurrentApprovals, CurrentDecisions
from web.templating import page
from web.views.approvals import approval_list, approval_view

approvals = router()


@approvals.get("/approvals")
def show_approvals(
    request: Request,
    caller: CurrentCaller,
    source: CurrentApprovals,
    after: Annotated[str | None, Query(max_length=1_500)] = None,
) -> Response:
    """What waits, what expires first at the top."""
    return page(request, "approvals.html", list=approval_list(source.page(after), after))


@approvals.get("/approvals/{execution_id}")
def show_approval(
    request: Request, execution_id: str, caller: CurrentCaller, source: CurrentApprovals
) -> Response:
    """What one execution would do, and the decision about it."""
    found = source.one(execution_id)
    if found is None:
        raise not_found("approval")
    view = approval_view(found)
    return page(request, "approval.html", view=view, trouble=None, reason="")


@approvals.post("/approvals/{execution_id}")
async def decide(
    request: Request,
    execution_id: str,
    caller: CurrentCaller,
    source: CurrentApprovals,
    decisions: CurrentDecisions,
    decision: Annotated[Literal["approve", "reject"], Form()],
    plan_hash: Annotated[str, Form(max_length=64)],
    reason: Annotated[str, Form(max_length=1_000)] = "",
) -> Response:
    """Approve or reject; what is refused is said on the same page, with the reason kept."""
    told = reason.strip() or None
    try:
        if decision == "approve":
            await decisions.approve(execution_id, plan_hash, told)
        elif told is None:
            raise Problem(422, "invalid_request", "Say why it is rejected, for whoever asked.")
        else:
            await decisions.reject(execution_id, told)
    except Problem as problem:
        if problem.document.status == 401:
            raise
        found = await run_in_threadpool(source.one, execution_id)
        if found is None:
            raise
        return page(
            request, "approval.html", problem.document.status, view=approval_view(found),
            trouble=problem.document.detail, reason=reason,
        )  # fmt: skip
    return redirect(f"/executions/{execution_id}")
