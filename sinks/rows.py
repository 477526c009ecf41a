"""What events mean for the tables; pure.

A batch of events becomes one patch per row that it touches; a column that is absent from a patch
stays as it is. Folding a log in batches, however it is cut, gives the same tables as folding it
at once: `sinks.tables` holds the other half of that promise, the rules by which a patch meets the
stored row.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from sinks.execution_rows import EXECUTION_HANDLERS
from sinks.patches import Handler, Patch, Patches
from sinks.records import EventRow
from sinks.step_rows import STEP_HANDLERS
from streams.lifecycle import STATUS_AFTER, TERMINAL_EVENTS

_HANDLERS: dict[str, Handler] = {**EXECUTION_HANDLERS, **STEP_HANDLERS}


@dataclass(slots=True)
class Fold:
    """The patches of a batch, and which executions can't be had from a batch alone."""

    patches: Patches = field(default_factory=Patches)
    #: Executions whose rows must be derived from all of their events: an event came after its
    #: successors, or what it means depends on earlier ones that are not in the batch.
    rebuild: set[str] = field(default_factory=set)


def fold(events: Iterable[EventRow], *, without: Collection[str] = ()) -> Fold:
    """Fold events that are new to the tables, each once, in the order of their partitions.

    An execution whose first event is number 1 is known from its beginning. `without` names
    executions to leave out.
    """
    result = Fold()
    last: dict[str, int] = {}
    for event in events:
        if event.execution_id in without:
            continue
        before = last.get(event.execution_id)
        in_order = before is None or event.seq == before + 1
        last[event.execution_id] = event.seq
        if not (_apply(result.patches, event) and in_order):
            result.rebuild.add(event.execution_id)
    return result


def refold(events: Iterable[EventRow]) -> Patches:
    """Fold all stored events of some executions, ordered by number; gaps are what they are."""
    patches = Patches()
    for event in events:
        patches.execution(event)["first_seq"] = 1
        _apply(patches, event)
    return patches


def _apply(patches: Patches, event: EventRow) -> bool:
    """Apply one event; returns False where the batch does not know enough to do so."""
    execution = patches.execution(event)
    handler = _HANDLERS.get(event.type)
    if handler is not None:
        handler(patches, execution, event)
    elif event.type.startswith("audit."):
        patches.audit(event)
    status = STATUS_AFTER.get(event.type)
    if status is not None:
        if status == "paused" and execution.get("status") != "paused":
            execution["paused_from"] = execution.get("status")
        execution["status"] = status
        if event.type in TERMINAL_EVENTS:
            patches.ended[event.execution_id] = status
    elif event.type == "execution.resumed":
        return _resume(execution)
    return True


def _resume(execution: Patch) -> bool:
    before = execution.get("paused_from")
    if before is None and execution["first_seq"] != 1:
        return False
    execution["status"] = before or "running"
    execution["status_reason"] = None
    return True
