"""The rows that a batch touches, as patches; pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sinks.records import EventRow
from streams.lifecycle import STEP_ENDED

#: Column → new value; names that are no columns are notes of the fold.
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
    #: None: the attempt is out no longer.
    queue: dict[AttemptKey, Patch | None] = field(default_factory=dict)
    approvals: dict[str, Patch] = field(default_factory=dict)
    audits: list[Patch] = field(default_factory=list)
    #: Executions that ended in this batch, with the status that they ended in.
    ended: dict[str, str] = field(default_factory=dict)

    def execution(self, event: EventRow) -> Patch:
        """The patch of the event's execution, with its last number and moment kept up."""
        patch = self.executions.get(event.execution_id)
        if patch is None:
            patch = self.executions[event.execution_id] = {
                "execution_id": event.execution_id,
                "tenant": event.tenant,
                "created_at": event.at,
                "first_seq": event.seq,
            }
        patch["last_seq"] = event.seq
        patch["updated_at"] = event.at
        return patch

    def step(self, event: EventRow, name: str | None = None) -> Patch:
        """The patch of a step, by default the event's own; a loose one where it names none."""
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

    def attempt(self, event: EventRow) -> Patch:
        """The patch of the event's attempt; a loose one where it names none."""
        if event.step is None or event.attempt is None:
            return {}
        key = (event.execution_id, event.step, event.attempt)
        patch = self.attempts.get(key)
        if patch is None:
            patch = self.attempts[key] = _attempt(event)
        patch["last_seq"] = event.seq
        return patch

    def queued(self, event: EventRow) -> Patch:
        """The patch of the attempt among those that are out; a loose one where it names none."""
        if event.step is None or event.attempt is None:
            return {}
        key = (event.execution_id, event.step, event.attempt)
        patch = self.queue.get(key)
        if patch is None:
            patch = self.queue[key] = _attempt(event)
        patch["last_seq"] = event.seq
        return patch

    def unqueue(self, event: EventRow) -> None:
        """The event's attempt is out no longer."""
        if event.step is not None and event.attempt is not None:
            self.queue[event.execution_id, event.step, event.attempt] = None

    def approval(self, event: EventRow) -> Patch:
        """The patch of the execution's approval."""
        patch = self.approvals.setdefault(
            event.execution_id, {"execution_id": event.execution_id, "tenant": event.tenant}
        )
        patch["last_seq"] = event.seq
        return patch

    def audit(self, event: EventRow) -> None:
        """Record a decision about authority."""
        data = event.data
        allowed = data.get("allowed")
        self.audits.append(
            {
                "event_id": event.event_id,
                "execution_id": event.execution_id,
                "seq": event.seq,
                "at": event.at,
                "tenant": event.tenant,
                "actor": text(data.get("actor")),
                "action": text(data.get("action")) or event.type.removeprefix("audit."),
                "allowed": allowed if isinstance(allowed, bool) else None,
                "message": text(data.get("message")),
                "data": data,
            }
        )


#: What one type of event changes: the patches, among them that of its execution.
Handler = Callable[[Patches, Patch, EventRow], None]


def _attempt(event: EventRow) -> Patch:
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


def settle(
    step: Patch,
    status: str,
    *,
    reason: str | None = None,
    until: str | None = None,
    at: str | None = None,
    seconds: float | None = None,
    error: tuple[str | None, str | None] = (None, None),
) -> None:
    """A new status of a step, with everything that lasts just as long as the status does."""
    step["status"] = status
    step["status_reason"] = reason[:_REASON] if reason else None
    step["waiting_until"] = until
    step["completed_at"] = at if status in STEP_ENDED else None
    step["duration_seconds"] = seconds
    step["error_class"], step["error_message"] = error


def text(value: Any) -> str | None:
    """The value if it is text."""
    return value if isinstance(value, str) else None


def number(value: Any) -> float | None:
    """The value if it is a number."""
    return value if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def moment_of(value: Any) -> str | None:
    """The value if it is RFC 3339 text; Postgres would also take `now` and `infinity`."""
    try:
        parsed = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return parsed.isoformat() if parsed.tzinfo is not None else None
