"""The rows that a batch touches, as patches; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final

from sinks.records import EventRow
from streams.audit_payloads import Audit, SecretsUsed
from streams.events import Event
from streams.lifecycle import STEP_ENDED, step_status

#: Column → new value.
Patch = dict[str, Any]
StepKey = tuple[str, str]
AttemptKey = tuple[str, str, int]

#: What a table keeps of a reason, in characters.
_REASON: Final = 2_000


@dataclass(slots=True)
class Patches:
    """Patches by table and key."""

    executions: dict[str, Patch] = field(default_factory=dict)
    steps: dict[StepKey, Patch] = field(default_factory=dict)
    attempts: dict[AttemptKey, Patch] = field(default_factory=dict)
    #: None: the attempt has left the queue.
    queue: dict[AttemptKey, Patch | None] = field(default_factory=dict)
    approvals: dict[str, Patch] = field(default_factory=dict)
    #: (execution, asset) -> the lock; None: the execution does not hold it any more.
    locks: dict[tuple[str, str], Patch | None] = field(default_factory=dict)
    audits: list[Patch] = field(default_factory=list)
    #: Steps that are stored as `cancelling`.
    cancelling: frozenset[StepKey] = frozenset()
    #: Executions that ended in this batch, with the status that they ended in.
    ended: dict[str, str] = field(default_factory=dict)

    def execution(self, event: Event) -> Patch:
        """The patch of the event's execution, with its last number and time updated."""
        patch = self.executions.get(event.execution_id)
        if patch is None:
            patch = self.executions[event.execution_id] = {
                "execution_id": event.execution_id,
                "tenant": event.tenant,
                "created_at": event.at,
            }
        patch["last_seq"] = event.seq
        patch["updated_at"] = event.at
        return patch

    def step(self, event: Event, name: str | None = None) -> Patch:
        """The patch of a step, by default the event's own; unstored where it names none."""
        name = name or event.step
        if name is None:
            return {}
        key = (event.execution_id, name)
        patch = self.steps.get(key)
        if patch is None:
            patch = self.steps[key] = {
                "execution_id": event.execution_id,
                "step": name,
                "tenant": event.tenant,
                "attempt": 0,
            }
        patch["updated_at"] = event.at
        patch["last_seq"] = event.seq
        return patch

    def attempt(self, event: Event) -> Patch:
        """The patch of the event's attempt; unstored where it names none."""
        if event.step is None or event.attempt is None:
            return {}
        key = (event.execution_id, event.step, event.attempt)
        patch = self.attempts.get(key)
        if patch is None:
            patch = self.attempts[key] = _attempt(event)
        patch["last_seq"] = event.seq
        return patch

    def queued(self, event: Event) -> Patch:
        """The patch of the attempt's row of the queue; unstored where it names none."""
        if event.step is None or event.attempt is None:
            return {}
        key = (event.execution_id, event.step, event.attempt)
        patch = self.queue.get(key)
        if patch is None:
            patch = self.queue[key] = _attempt(event)
        patch["last_seq"] = event.seq
        return patch

    def unqueue(self, event: Event) -> None:
        """The event's attempt leaves the queue."""
        if event.step is not None and event.attempt is not None:
            self.queue[event.execution_id, event.step, event.attempt] = None

    def approval(self, event: Event) -> Patch:
        """The patch of the execution's approval."""
        patch = self.approvals.setdefault(
            event.execution_id, {"execution_id": event.execution_id, "tenant": event.tenant}
        )
        patch["last_seq"] = event.seq
        return patch

    def audit(self, row: EventRow) -> None:
        """Record a decision about authority; of a type that is not known, its data only."""
        event = row.event
        audit = {
            "event_id": row.event_id,
            "execution_id": event.execution_id,
            "seq": event.seq,
            "at": event.at,
            "tenant": event.tenant,
            "action": event.type.removeprefix("audit."),
            "data": row.data_json,
        }
        if isinstance(event.data, Audit):
            put(audit, actor=event.data.actor, action=event.data.action)
            put(audit, allowed=event.data.allowed, message=event.data.message)
        if isinstance(event.data, SecretsUsed):
            put(audit, actor=event.data.actor, allowed=True)
        self.audits.append(audit)

    def status_of(self, event: Event) -> str:
        """The status of the event's step as far as it is known; empty where it is not."""
        if event.step is None:
            return ""
        key = (event.execution_id, event.step)
        patch = self.steps.get(key)
        status: str | None = None if patch is None else patch.get("status")
        return status or ("cancelling" if key in self.cancelling else "")


#: Applies one type of event; the last argument is its payload.
Handler = Callable[[Patches, Event, Any], None]


def _attempt(event: Event) -> Patch:
    return {
        "execution_id": event.execution_id,
        "step": event.step,
        "attempt": event.attempt,
        "tenant": event.tenant,
    }


def put(patch: Patch, **columns: Any) -> None:
    """Set the columns whose value is known; the others stay as they are."""
    for name, value in columns.items():
        if value is not None:
            patch[name] = value


def introduce(
    step: Patch, status: str = "pending", reason: str | None = None, at: str | None = None
) -> None:
    """The first status of a step, before it has an event of its own."""
    _set_status(step, status, reason)
    step["completed_at"] = at


def settle(
    patches: Patches,
    event: Event,
    *,
    reason: str | None = None,
    until: str | None = None,
    seconds: float | None = None,
    error: tuple[str | None, str | None] = (None, None),
) -> Patch:
    """Set the new status of the event's step, and the columns that hold as long as a status does.

    Returns the patch of the step. Where the step stays as it is, so does everything else.
    """
    step = patches.step(event)
    before = patches.status_of(event)
    status = step_status(before, event)
    if status == before == "cancelling" and event.type != "step.cancel_requested":
        return step
    _set_status(step, status, reason)
    step["waiting_until"] = until
    step["error_class"], step["error_message"] = error
    if status in STEP_ENDED:
        step["completed_at"], step["duration_seconds"] = event.at, seconds
    return step


def _set_status(step: Patch, status: str, reason: str | None) -> None:
    step["status"] = status
    step["status_reason"] = reason[:_REASON] if reason else None
    for name in ("cancel_requested_at", "waiting_until", "completed_at", "duration_seconds"):
        step[name] = None
    step["error_class"] = step["error_message"] = None
