"""What events change in the tables; pure.

A batch of events becomes one patch per row that it touches; a column that is absent from a patch
stays as it is. Folding a log in batches, however it is cut, gives the same tables as folding it
at once; the rules by which a patch is merged into the stored row are in `sinks.tables`. Every
status comes from `streams.lifecycle`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Final

from sinks.execution_rows import EXECUTION_HANDLERS
from sinks.patches import Handler, Patches, StepKey
from sinks.records import EventRow
from sinks.step_rows import STEP_HANDLERS
from streams.lifecycle import TERMINAL_EVENTS, execution_status
from streams.payloads import EVENT_TYPES

_HANDLERS: Final[dict[str, Handler]] = {**EXECUTION_HANDLERS, **STEP_HANDLERS}


@dataclass(slots=True)
class Fold:
    """The patches of a batch, and the executions that must be derived from all their events."""

    patches: Patches
    #: Executions whose rows must be derived from all of their events: an event came after its
    #: successors.
    rebuild: set[str]


def fold(
    events: Iterable[EventRow],
    *,
    without: Collection[str] = (),
    cancelling: Collection[StepKey] = (),
) -> Fold:
    """Fold events that are new to the tables, each once, in the order of their partitions.

    `without` names executions to leave out; `cancelling` the steps that are stored with that
    status, the only one that decides what a later event means.
    """
    result = Fold(Patches(cancelling=frozenset(cancelling)), set())
    last: dict[str, int] = {}
    for row in events:
        ident, seq = row.event.execution_id, row.event.seq
        if ident in without:
            continue
        before = last.get(ident)
        if before is not None and seq != before + 1:
            result.rebuild.add(ident)
        last[ident] = seq
        _apply(result.patches, row)
    return result


def refold(events: Iterable[EventRow]) -> Patches:
    """Fold all stored events of some executions, ordered by number; gaps are passed over."""
    patches = Patches()
    for row in events:
        _apply(patches, row)
    return patches


def _apply(patches: Patches, row: EventRow) -> None:
    event = row.event
    if event.type == "execution.explained":
        return  # It is in the log; there is no execution of which a row could tell.
    execution = patches.execution(event)
    before = execution.get("status")
    status = execution_status(before, event)
    if status is not None and status != before:
        execution["status"] = status
        execution["status_reason"] = None
    handler = _HANDLERS.get(event.type)
    # A row that an earlier version stored may hold data that this one cannot read.
    if handler is not None and isinstance(event.data, EVENT_TYPES[event.type]):
        handler(patches, event, event.data)
    elif event.type.startswith("audit."):
        patches.audit(row)
    if status is not None and event.type in TERMINAL_EVENTS:
        patches.ended[event.execution_id] = status
