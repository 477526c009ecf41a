"""Approvals as their templates show them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reading.models.approvals import (
    ApprovalPage,
    ApprovalRequest,
    HostEffects,
    PlannedCall,
    Verdict,
)
from web.statuses import Look
from web.views.looks import EFFECT, EffectMark, effect_marks
from web.wording import counted, number

#: Where only the run will tell what a call acts on.
UNKNOWN_HOST: Final = "only the run will tell"
#: Hosts of one call that are named before the rest is counted.
_NAMED_HOSTS: Final = 4

_DECIDED: Final[dict[str, Look]] = {
    "approved": Look("ok", "check", "Approved"),
    "rejected": Look("fail", "ban", "Rejected"),
    "expired": Look("fail", "timeout", "Expired"),
    "cancelled": Look("wait", "square", "Cancelled"),
}


@dataclass(frozen=True, slots=True)
class ApprovalRow:
    """One execution that waits for approval, in the list."""

    id: str
    href: str
    name: str
    who: str
    environment: str | None
    marks: list[EffectMark]
    #: Such as `3 hosts`, or the one host.
    hosts: str
    #: Such as `1 of 2`.
    given: str
    requested_at: datetime | None
    expires_at: datetime | None
    #: Why the caller may not approve it.
    why_not: str | None


@dataclass(frozen=True, slots=True)
class ApprovalList:
    """The page of the approvals."""

    rows: list[ApprovalRow]
    shown: str
    first: str | None
    more: str | None


@dataclass(frozen=True, slots=True)
class HostRow:
    """What would be done to one host."""

    host: str
    known: bool
    read: int
    modify: int
    destroy: int


@dataclass(frozen=True, slots=True)
class CallRow:
    """One call that the plan can make."""

    call: PlannedCall
    look: Look
    tool_href: str
    hosts: str
    every_host: str
    #: Such as `for 12 items`.
    items: str | None


@dataclass(frozen=True, slots=True)
class ApprovalView:
    """The page of one approval."""

    request: ApprovalRequest
    row: ApprovalRow
    #: Null while it waits for a decision.
    decided: Look | None
    hosts: list[HostRow]
    calls: list[CallRow]
    denied: list[Verdict]
    #: Such as `All 12 decisions of the policy allow it`.
    policy: str
    policy_look: Look
    call_href: str


def approval_list(page: ApprovalPage, after: str | None) -> ApprovalList:
    """The page of these approvals."""
    rows = [approval_row(request) for request in page.approvals]
    return ApprovalList(
        rows=rows,
        shown=f"{counted(len(rows), 'plan')} shown, those that expire first at the top",
        first="/approvals" if after else None,
        more=page.next,
    )


def approval_row(request: ApprovalRequest) -> ApprovalRow:
    """One approval in the list."""
    execution, approval = request.execution, request.approval
    return ApprovalRow(
        id=execution.execution_id,
        href=f"/approvals/{execution.execution_id}",
        name=execution.name or execution.procedure or "Plan without a name",
        who=approval.requested_by or execution.actor or "nobody known",
        environment=execution.environment,
        marks=effect_marks(request.effects),
        hosts=_hosts_of(request),
        given=f"{approval.given} of {approval.level if approval.level is not None else '?'}",
        requested_at=approval.requested_at,
        expires_at=approval.expires_at,
        why_not=None if request.may_approve else request.why_not or "you may not approve it",
    )


def approval_view(request: ApprovalRequest) -> ApprovalView:
    """The page of this approval."""
    denied = [verdict for verdict in request.verdicts if not verdict.allowed]
    return ApprovalView(
        request=request,
        row=approval_row(request),
        decided=_DECIDED.get(request.approval.state),
        hosts=[_host(one) for one in request.hosts],
        calls=[_call(one) for one in request.calls],
        denied=denied,
        policy=_policy(len(request.verdicts), len(denied)),
        policy_look=_policy_look(len(request.verdicts), len(denied)),
        call_href=f"/executions/{request.execution.execution_id}",
    )


def _policy(every: int, denied: int) -> str:
    if not every:
        return "No decision of the policy is recorded"
    if denied:
        return f"The policy denied {number(denied)} of {counted(every, 'action')}"
    return f"The policy allows it: {counted(every, 'action')} looked at"


def _policy_look(every: int, denied: int) -> Look:
    if denied:
        return Look("fail", "ban", "Denied")
    return Look("ok", "check", "Allowed") if every else Look("wait", "help", "Not known")


def _hosts_of(request: ApprovalRequest) -> str:
    known = [one.host for one in request.hosts if one.host is not None]
    many = len(request.hosts) + request.hosts_left_out
    if many == 1:
        return known[0] if known else UNKNOWN_HOST
    return counted(many, "host")


def _host(one: HostEffects) -> HostRow:
    known = one.host is not None
    return HostRow(one.host or UNKNOWN_HOST, known, one.read, one.modify, one.destroy)


def _call(call: PlannedCall) -> CallRow:
    names = [host or UNKNOWN_HOST for host in call.hosts]
    shown = ", ".join(names[:_NAMED_HOSTS])
    left = len(names) - _NAMED_HOSTS
    return CallRow(
        call=call,
        look=EFFECT[call.effect],
        tool_href=f"/tools/{call.tool}",
        hosts=f"{shown} and {number(left)} more" if left > 0 else shown or "no host",
        every_host=", ".join(names),
        items=_items(call.items),
    )


def _items(items: int | None) -> str | None:
    if items is None:
        return "for as many items as the run finds"
    return None if items == 1 else f"for {counted(items, 'item')}"
