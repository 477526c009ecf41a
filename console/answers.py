"""Which event answers which command; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from streams.events import Event

#: What follows on each command where the router does as told.
_FOLLOWS: Final[dict[str, frozenset[str]]] = {
    "cancel": frozenset({"execution.cancel_requested", "execution.cancelled"}),
    "approve": frozenset({"execution.approved"}),
    "reject": frozenset({"execution.rejected"}),
    "pause": frozenset({"execution.paused"}),
    "resume": frozenset({"execution.resumed"}),
    # Each of these has an audit entry of its own, whatever becomes of the step.
    "resolve": frozenset({"step.succeeded", "step.failed", "step.retry_scheduled"}),
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the router made of a command."""

    allowed: bool
    message: str
    event: Event


def verdict(command: dict[str, Any], event: Event) -> Verdict | None:
    """The verdict on `command` in `event`, or None where the event is about something else."""
    kind, ident = command["type"], command["execution_id"]
    if kind in ("rerun", "redrive"):
        found = _rerun(command, event)
        if found is not None:
            return found
    if event.execution_id != ident:
        return None
    if event.type == "audit.decision":
        if event.data.get("action") != kind or event.data.get("actor") != command["actor"]:
            return None
        allowed = bool(event.data.get("allowed"))
        return Verdict(allowed, str(event.data.get("message") or ""), event)
    if event.type not in _FOLLOWS.get(kind, ()):
        return None
    if event.step is not None and event.step != command.get("step"):
        return None
    return Verdict(True, "", event)


def _rerun(command: dict[str, Any], event: Event) -> Verdict | None:
    if event.type == "execution.accepted":
        if event.data.get("rerun_of") == command["execution_id"]:
            return Verdict(True, f"runs again as {event.execution_id}", event)
    elif event.type == "execution.rejected":
        proposed = command.get("new_execution_id")
        if proposed is not None and event.execution_id == proposed:
            return Verdict(False, str(event.data.get("message")), event)
    return None
