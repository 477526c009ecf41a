"""What the events of an execution change, one function per type; pure."""

from __future__ import annotations

from typing import Any, Final

from sinks.patches import Handler, Patch, Patches, moment_of, number, put, settle, text
from sinks.records import EventRow

_COLUMNS: Final = (
    ("name", str),
    ("actor", str),
    ("environment", str),
    ("idempotency_key", str),
    ("sla_class", str),
    ("action_class", str),
    ("priority", int),
    ("approval_level", int),
    ("plan_hash", str),
    ("timeout_seconds", (int, float)),
    ("sla_seconds", (int, float)),
    ("rerun_of", str),
    ("conflicts_with", str),
)


def _take(patch: Patch, data: dict[str, Any]) -> None:
    for name, kind in _COLUMNS:
        value = data.get(name)
        if isinstance(value, kind) and not isinstance(value, bool):
            patch[name] = value


def _accepted(patches: Patches, execution: Patch, event: EventRow) -> None:
    data = event.data
    plan, carried = data.get("plan"), data.get("carried")
    _take(execution, data)
    put(execution, execution_mode=text(data.get("mode")), plan=plan)
    execution["status_reason"] = None
    outputs: dict[str, Any] = carried if isinstance(carried, dict) else {}
    steps = plan.get("steps") if isinstance(plan, dict) else None
    specs = [spec for spec in steps if isinstance(spec, dict)] if isinstance(steps, list) else []
    execution["total_steps"] = len(specs)
    for index, spec in enumerate(specs):
        step = patches.step(event, text(spec.get("id")) or f"step_{index + 1}")
        put(step, step_index=index, tool=text(spec.get("tool")), depends_on=spec.get("depends_on"))
        put(step, description=text(spec.get("description")), input_data=spec.get("parameters"))
        if step["step"] in outputs:
            reason = f"carried over from {execution.get('rerun_of')}"
            settle(step, "succeeded", reason=reason, at=event.at)
            put(step, output_data=outputs[step["step"]], percent=100)
        else:
            settle(step, "pending")


def _rejected(patches: Patches, execution: Patch, event: EventRow) -> None:
    reason, message = text(event.data.get("reason")), text(event.data.get("message"))
    _take(execution, event.data)
    _end(execution, event, message)
    put(execution, error_class=reason, error_message=message)
    if reason in ("not_approved", "approval_expired"):
        state = "expired" if reason == "approval_expired" else "rejected"
        _decide(patches, event, state, message)


def _approval_requested(patches: Patches, execution: Patch, event: EventRow) -> None:
    data = event.data
    approval = patches.approval(event)
    put(approval, state="pending", approval_level=number(data.get("level")), requested_at=event.at)
    put(approval, plan_hash=text(data.get("plan_hash")))
    put(approval, requested_by=text(data.get("requested_by")))
    put(approval, expires_at=moment_of(data.get("expires_at")))
    execution["status_reason"] = "waits for approval"


def _approved(patches: Patches, execution: Patch, event: EventRow) -> None:
    _decide(patches, event, "approved", text(event.data.get("reason")))
    execution["status_reason"] = None


def _decide(patches: Patches, event: EventRow, state: str, reason: str | None) -> None:
    actor = text(event.data.get("actor"))
    approval = patches.approval(event)
    put(approval, state=state, decided_by=actor, decided_at=event.at, reason=reason)


def _queued(patches: Patches, execution: Patch, event: EventRow) -> None:
    execution.setdefault("queued_at", event.at)
    execution["status_reason"] = None


def _started(patches: Patches, execution: Patch, event: EventRow) -> None:
    execution.setdefault("started_at", event.at)
    execution["status_reason"] = None


def _paused(patches: Patches, execution: Patch, event: EventRow) -> None:
    actor, reason = text(event.data.get("actor")), text(event.data.get("reason"))
    execution["status_reason"] = f"paused by {actor}" + (f": {reason}" if reason else "")


def _cancel_requested(patches: Patches, execution: Patch, event: EventRow) -> None:
    execution.setdefault("cancel_requested_at", event.at)


def _needs_attention(patches: Patches, execution: Patch, event: EventRow) -> None:
    execution["status_reason"] = text(event.data.get("message"))


def _ended(patches: Patches, execution: Patch, event: EventRow) -> None:
    reason = text(event.data.get("reason"))
    _end(execution, event, reason)
    seconds, counts = number(event.data.get("elapsed_seconds")), event.data.get("steps")
    put(execution, duration_seconds=seconds, step_counts=counts)
    if event.type in ("execution.failed", "execution.partial"):
        put(execution, error_message=reason)
    elif event.type == "execution.timed_out":
        message = reason or "the execution ran longer than it may"
        put(execution, error_class="timed_out", error_message=message)


def _end(execution: Patch, event: EventRow, reason: str | None) -> None:
    put(execution, completed_at=event.at)
    execution["status_reason"] = reason


#: Types that are absent change the log, the last number and nothing else.
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
}
