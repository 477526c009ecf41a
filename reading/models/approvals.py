"""Approvals: executions that wait for a person, with what they would do."""

from __future__ import annotations

from pydantic import AwareDatetime, Field

from reading.models.base import Cursor, Model
from reading.models.executions import ApprovalState, ExecutionSummary
from toolmeta.effects import Effect


class EffectCounts(Model):
    """Calls by what they do."""

    read: int
    modify: int
    destroy: int


class HostEffects(EffectCounts):
    """What would be done to one host or asset."""

    host: str | None = Field(description="null: only the run will tell; `localhost`: the executor")


class PlannedCall(Model):
    """One place of the plan that calls a tool."""

    field: str = Field(description="where it stands, such as plan.steps[0].compensate")
    step: str
    description: str | None
    tool: str
    domain: str
    effect: Effect = Field(description="the worst that this call can do")
    hosts: list[str | None] = Field(description="what it acts on; null: only the run will tell")
    items: int | None = Field(description="how many items it runs for; null: the run will tell")
    compensates: bool = Field(description="whether it runs only to undo a step that succeeded")
    when: str | None = Field(description="the condition under which it runs")
    become: str | None = Field(description="as whom its program runs on the host")
    parameters: dict[str, object] = Field(description="as the plan has them, secrets by reference")


class Verdict(Model):
    """A decision of the policy about this plan, as the router recorded it at admission."""

    at: AwareDatetime
    action: str
    resource: str | None
    allowed: bool
    rule: str | None
    message: str | None


class ApprovalRequest(Model):
    """An execution that waits for approval, or one that somebody has decided about."""

    execution: ExecutionSummary
    approval: ApprovalState
    effects: EffectCounts = Field(description="of the whole plan, compensations left out")
    hosts: list[HostEffects] = Field(description="by host, at most 500, the most affected first")
    hosts_left_out: int
    calls: list[PlannedCall] = Field(description="at most 500; the plan has all of them")
    calls_left_out: int
    verdicts: list[Verdict] = Field(
        description="what the policy said at admission, at most 100; a what-if asks again"
    )
    may_approve: bool
    may_reject: bool
    why_not: str | None = Field(description="why the caller may not approve, as a sentence")


class ApprovalPage(Model):
    """Approvals, those that expire first at the beginning."""

    approvals: list[ApprovalRequest]
    next: Cursor
