"""Executions: the row of a list, the header of one, and its plan."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import AwareDatetime, Field

from reading.models.base import Cursor, Model
from streams.lifecycle import ExecutionStatus, StepStatus

ApprovalStatus = Literal["pending", "approved", "rejected", "expired", "cancelled"]


class ExecutionSummary(Model):
    """One execution in a list."""

    execution_id: str
    tenant: str
    name: str | None = Field(description="of the plan")
    status: ExecutionStatus | None = Field(
        description="null only where the events that would say it have expired or were parked"
    )
    status_reason: str | None = Field(description="why it stands or ended as it did")
    actor: str | None = Field(description="who asked for it")
    environment: str | None
    approval_level: int | None = Field(description="how many people must approve it")
    priority: int | None = Field(description="1 is the most urgent")
    sla_class: str | None
    action_class: str | None
    procedure: str | None = Field(description="null where the request brought the plan itself")
    procedure_version: str | None
    started_by_kind: Literal["schedule", "trigger"] | None
    started_by: str | None = Field(description="the schedule or trigger that started it")
    total_steps: int | None = Field(description="steps of the plan, without items and inner steps")
    step_counts: dict[str, int] | None = Field(
        description="steps by status: the final ones of an execution that has ended, those of the "
        "moment of one that runs"
    )
    percent: float = Field(ge=0, le=100, description="100 only when the execution has ended")
    created_at: AwareDatetime
    started_at: AwareDatetime | None
    completed_at: AwareDatetime | None
    duration_seconds: float | None = Field(description="from its start to its end")
    sla_seconds: float | None = Field(description="what its class promises, from created_at")
    late: bool = Field(description="whether it takes or took longer than its class promises")
    error_class: str | None
    error_message: str | None


class ExecutionPage(Model):
    """Executions, newest first."""

    executions: list[ExecutionSummary]
    next: Cursor


class ExecutionCounts(Model):
    """How many executions match the filters, by status; the filter by status itself is left out."""

    counts: dict[ExecutionStatus, int] = Field(description="a status without any is absent")
    late: int
    total: int
    complete: bool = Field(
        description="false where there are more than are counted: then it is of the newest only"
    )


class Decision(Model):
    """One answer of a person to the question whether the execution may run."""

    at: AwareDatetime
    actor: str
    approved: bool
    reason: str | None


class ApprovalState(Model):
    """How the approval of an execution stands."""

    state: ApprovalStatus
    level: int | None = Field(description="approvals that it needs, of as many different people")
    given: int = Field(description="approvals so far")
    plan_hash: str | None = Field(description="an approval names it, so that it is of this plan")
    requested_by: str | None
    requested_at: AwareDatetime | None
    expires_at: AwareDatetime | None
    decided_by: str | None
    decided_at: AwareDatetime | None
    reason: str | None
    decisions: list[Decision] = Field(description="every single answer, in order")


class Wait(Model):
    """Something that keeps the execution or one of its steps from going on."""

    step: str | None = Field(description="null: the execution as a whole")
    status: ExecutionStatus | StepStatus
    reason: str | None
    since: AwareDatetime | None
    until: AwareDatetime | None = Field(description="when it goes on or ends by itself, if known")


class ExecutionDetail(ExecutionSummary):
    """One execution; its steps, attempts, events and output have paths of their own."""

    execution_mode: str | None = Field(description="immediate or background")
    idempotency_key: str | None
    run: int | None = Field(description="1 for the first acceptance of its idempotency key")
    plan_hash: str | None
    procedure_digest: str | None
    started_by_cause: str | None = Field(
        description="the moment of the schedule, or topic, partition and offset of the record"
    )
    rerun_of: str | None
    reruns: list[str] = Field(description="executions that repeat it, oldest first, at most 100")
    conflicts_with: str | None
    queued_at: AwareDatetime | None
    cancel_requested_at: AwareDatetime | None
    sla_deadline: AwareDatetime | None
    timeout_seconds: float | None = Field(description="its limit, from its first start")
    times_out_at: AwareDatetime | None = Field(description="null before its first start")
    compensation_counts: dict[str, int] | None
    approval: ApprovalState | None = Field(description="null where none was asked for")
    waits: list[Wait] = Field(description="why it does not go on, at most 50, oldest first")
    steps_known: int = Field(description="steps with items and inner steps, as far as expanded")
    updated_at: AwareDatetime
    last_seq: int = Field(description="number of the last event that is in this")


class PlanView(Model):
    """The plan as admitted: every limit and tool name decided, references not replaced."""

    execution_id: str
    name: str | None
    plan_hash: str | None
    environment: str | None
    procedure: str | None
    procedure_version: str | None
    procedure_digest: str | None
    plan: dict[str, Any] | None = Field(
        description="references and secrets stand as references; the values that they had are in "
        "the inputs of the steps"
    )
