"""Which event answers which request or command."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from streams.audit_payloads import Audit
from streams.commands import AnyCommand, Redrive, Rerun, Resolve
from streams.events import Event
from streams.payloads import Accepted, Duplicate, Rejected

#: The event that follows each command where the router accepts it.
_FOLLOWS: Final[dict[str, frozenset[str]]] = {
    "cancel": frozenset({"execution.cancel_requested", "execution.cancelled"}),
    "approve": frozenset({"execution.approved", "execution.approval_given"}),
    "reject": frozenset({"execution.rejected"}),
    "pause": frozenset({"execution.paused"}),
    "resume": frozenset({"execution.resumed"}),
    # Each of these has an audit entry of its own, whatever the outcome of the step.
    "resolve": frozenset({"step.succeeded", "step.failed", "step.retry_scheduled"}),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the router decided about a command."""

    allowed: bool
    message: str
    event: Event


def answers_request(event: Event, execution_id: str, tenant: str, idempotency_key: str) -> bool:
    """Whether the event is what became of the request that proposed this id under this key."""
    if event.execution_id == execution_id:
        return True
    if isinstance(event.data, Duplicate):
        return event.data.requested_execution_id == execution_id
    # For an id that the router cannot accept the response has an id of its own making.
    return (
        isinstance(event.data, Rejected)
        and event.seq == 1
        and event.tenant == tenant
        and event.data.idempotency_key == idempotency_key
    )


def verdict(command: AnyCommand, event: Event) -> Verdict | None:
    """The verdict on `command` in `event`, or None where the event is about something else."""
    if isinstance(command, Rerun | Redrive):
        found = _rerun(command, event)
        if found is not None:
            return found
    if event.execution_id != command.execution_id:
        return None
    if isinstance(event.data, Audit):
        asked = event.data.claimed_actor or event.data.actor
        if event.data.action != command.type or asked != command.actor:
            return None
        if event.data.allowed and command.type in _FOLLOWS and not isinstance(command, Resolve):
            return None  # What it leads to follows, and says more.
        return Verdict(event.data.allowed, event.data.message or "", event)
    if event.type not in _FOLLOWS.get(command.type, ()):
        return None
    about = command.step if isinstance(command, Resolve) else None
    return Verdict(True, "", event) if event.step in (None, about) else None


def _rerun(command: Rerun | Redrive, event: Event) -> Verdict | None:
    data = event.data
    if isinstance(data, Accepted):
        if data.rerun_of == command.execution_id:
            return Verdict(True, f"runs again as {event.execution_id}", event)
    elif isinstance(data, Rejected) and isinstance(command, Rerun):
        proposed = command.new_execution_id
        if proposed is not None and event.execution_id == proposed:
            return Verdict(False, data.message, event)
    return None
