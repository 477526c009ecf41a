"""What the events of an execution change, one function per type; pure."""

from __future__ import annotations

from typing import Final

import orjson

from sinks.patches import Handler, Patches, introduce, put
from streams.admitted import encode_plan
from streams.control_payloads import ApprovalRequested, By, CancelRequested, NeedsAttention
from streams.events import Event
from streams.lock_payloads import LockAcquired, LockEnded
from streams.payloads import Accepted, Ended, Nothing, Rejected


def _accepted(patches: Patches, event: Event, data: Accepted) -> None:
    execution = patches.execution(event)
    put(
        execution,
        name=data.name,
        actor=data.actor,
        environment=data.environment,
        idempotency_key=data.idempotency_key,
        run=data.run,
        sla_class=data.sla_class,
        execution_mode=data.mode,
        action_class=data.action_class,
        priority=data.priority,
        approval_level=data.approval_level,
        plan=orjson.Fragment(encode_plan(data.plan)),
        plan_hash=data.plan_hash,
        timeout_seconds=data.timeout_seconds,
        sla_seconds=data.sla_seconds,
        rerun_of=data.rerun_of,
        total_steps=len(data.plan.roots),
    )
    if data.procedure is not None:
        run = data.procedure
        put(execution, procedure=run.name, procedure_version=run.version)
        put(execution, procedure_digest=run.digest)
    if data.started_by is not None:
        origin = data.started_by
        put(execution, started_by_kind=origin.kind, started_by=origin.name)
        put(execution, started_by_cause=origin.cause)
    carried = data.carried or {}
    for index, spec in enumerate(data.plan.roots):
        step = patches.step(event, spec.id)
        put(step, step_index=index, tool=spec.tool, depends_on=spec.depends_on)
        put(step, description=spec.description, input_data=spec.parameters)
        if spec.id in carried:
            introduce(step, "succeeded", f"carried over from {data.rerun_of}", event.at)
            put(step, output_data=carried[spec.id], percent=100)
        else:
            introduce(step)


def _rejected(patches: Patches, event: Event, data: Rejected) -> None:
    execution = patches.execution(event)
    put(execution, name=data.name, actor=data.actor, idempotency_key=data.idempotency_key)
    put(execution, conflicts_with=data.conflicts_with, completed_at=event.at)
    put(execution, error_class=data.reason, error_message=data.message)
    execution["status_reason"] = data.message
    if data.reason in ("not_approved", "approval_expired"):
        state = "expired" if data.reason == "approval_expired" else "rejected"
        _decide(patches, event, state, data.actor, data.message)


def _approval_requested(patches: Patches, event: Event, data: ApprovalRequested) -> None:
    approval = patches.approval(event)
    put(approval, state="pending", approval_level=data.level, plan_hash=data.plan_hash)
    put(approval, requested_by=data.requested_by, requested_at=event.at, expires_at=data.expires_at)
    patches.execution(event)["status_reason"] = "waits for approval"


def _approved(patches: Patches, event: Event, data: By) -> None:
    _decide(patches, event, "approved", data.actor, data.reason)


def _decide(
    patches: Patches, event: Event, state: str, actor: str | None, reason: str | None
) -> None:
    approval = patches.approval(event)
    put(approval, state=state, decided_by=actor, decided_at=event.at, reason=reason)


def _queued(patches: Patches, event: Event, data: Nothing) -> None:
    patches.execution(event).setdefault("queued_at", event.at)


def _started(patches: Patches, event: Event, data: Nothing) -> None:
    patches.execution(event).setdefault("started_at", event.at)


def _paused(patches: Patches, event: Event, data: By) -> None:
    reason = f": {data.reason}" if data.reason else ""
    patches.execution(event)["status_reason"] = f"paused by {data.actor}{reason}"


def _cancel_requested(patches: Patches, event: Event, data: CancelRequested) -> None:
    patches.execution(event).setdefault("cancel_requested_at", event.at)


def _needs_attention(patches: Patches, event: Event, data: NeedsAttention) -> None:
    patches.execution(event)["status_reason"] = data.message


def _ended(patches: Patches, event: Event, data: Ended) -> None:
    execution = patches.execution(event)
    put(execution, completed_at=event.at, duration_seconds=data.elapsed_seconds)
    put(execution, step_counts=data.steps, compensation_counts=data.compensations)
    execution["status_reason"] = data.reason
    if event.type in ("execution.failed", "execution.partial"):
        put(execution, error_message=data.reason)
    elif event.type == "execution.timed_out":
        message = data.reason or "the execution ran longer than it may"
        put(execution, error_class="timed_out", error_message=message)


def _lock_acquired(patches: Patches, event: Event, data: LockAcquired) -> None:
    for asset, token in data.tokens.items():
        patches.locks[event.execution_id, asset] = {
            "tenant": event.tenant,
            "asset": asset,
            "execution_id": event.execution_id,
            "step": data.step,
            "fencing_token": token,
            "acquired_at": event.at,
            "lease_seconds": data.lease_seconds,
            "last_seq": event.seq,
        }


def _lock_ended(patches: Patches, event: Event, data: LockEnded) -> None:
    for asset in data.tokens:
        patches.locks[event.execution_id, asset] = None


#: Types that are absent change the log, the status, the last number and nothing else.
EXECUTION_HANDLERS: Final[dict[str, Handler]] = {
    "execution.accepted": _accepted,
    "execution.rejected": _rejected,
    "execution.approval_requested": _approval_requested,
    "execution.approved": _approved,
    "execution.queued": _queued,
    "execution.started": _started,
    "execution.paused": _paused,
    "execution.cancel_requested": _cancel_requested,
    "execution.needs_attention": _needs_attention,
    "execution.completed": _ended,
    "execution.partial": _ended,
    "execution.failed": _ended,
    "execution.cancelled": _ended,
    "execution.timed_out": _ended,
    "lock.acquired": _lock_acquired,
    "lock.released": _lock_ended,
    "lock.expired": _lock_ended,
}
