"""Changelog: an execution as records on the compacted `router.state` topic, and back.

`<id>` is the head, `<id>/.plan` the plan (written once). The steps of a small execution stand in
its head, so that a report costs one record; those of a large one stand alone under `<id>/<step>`,
so that a report costs two small records whatever the plan's size. An ended execution that may be
run again keeps its records until its idempotency key is forgotten; of the others only a receipt
stays under `<id>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final

import orjson

from processors.router.state import ENDED, Execution, Receipt, StepState, link

#: Ended executions from which a rerun can start.
RERUNNABLE: Final = frozenset({"failed", "partial", "cancelled", "timeout"})

#: Up to this many steps an execution is small.
SMALL: Final = 32

Piece = tuple[bytes, bytes | None]

_HEAD: Final = (
    "id", "tenant", "actor", "idempotency_key", "plan_hash", "mode", "sla_class", "action_class",
    "environment", "priority", "timeout_seconds", "approval_level", "accepted_at", "seq", "status",
    "approval_expires_at", "started_at", "ended_at", "paused_at", "paused_seconds", "ending",
    "ending_reason", "stopping", "rerun_of",
)  # fmt: skip
#: What a step that has not been touched needs nothing of.
_STEP: Final = (
    "attempt", "in_flight", "executor", "dispatched_at", "started_at", "ended_at", "retry_at",
    "waiting", "output", "error", "failures", "parent", "index", "item", "children", "undoes",
    "late",
)  # fmt: skip


def pieces(execution: Execution, dirty: Iterable[str], *, new: bool) -> Iterator[Piece]:
    """The records that a change makes necessary."""
    key = execution.id
    small = len(execution.steps) <= SMALL
    if execution.status in ENDED and execution.status not in RERUNNABLE:
        yield from receipt_pieces(receipt(execution))
        yield f"{key}/.plan".encode(), None
        if not small:
            for name in execution.steps:
                yield f"{key}/{name}".encode(), None
        return
    head = {name: getattr(execution, name) for name in _HEAD}
    if small:
        head["steps"] = [
            _step(step)
            for step in execution.steps.values()
            if step.status != "pending" or step.parent is not None or step.undoes is not None
        ]
    yield key.encode(), orjson.dumps(head)
    if new:
        yield f"{key}/.plan".encode(), orjson.dumps(execution.plan)
    if not small:
        for name in dirty:
            yield f"{key}/{name}".encode(), orjson.dumps(_step(execution.steps[name]))


def _step(step: StepState) -> dict[str, Any]:
    """Only what is set, since most of it is not."""
    fields: dict[str, Any] = {"id": step.id, "status": step.status}
    for name in _STEP:
        value = getattr(step, name)
        if value:
            fields[name] = value
    return fields


def receipt(execution: Execution) -> Receipt:
    """What is kept of an ended execution."""
    return Receipt(
        execution.id,
        execution.tenant,
        execution.idempotency_key,
        execution.plan_hash,
        execution.status,
        execution.seq,
        execution.ended_at or execution.accepted_at,
        {name: step.attempt for name, step in execution.steps.items() if step.attempt},
    )


def receipt_pieces(kept: Receipt) -> Iterator[Piece]:
    """The one record of a receipt."""
    fields = {name: getattr(kept, name) for name in Receipt.__slots__}
    yield kept.id.encode(), orjson.dumps({"receipt": fields})


def tombstones(execution_id: str, steps: Iterable[str]) -> Iterator[Piece]:
    """Forget an execution."""
    yield execution_id.encode(), None
    yield f"{execution_id}/.plan".encode(), None
    for name in steps:
        yield f"{execution_id}/{name}".encode(), None


class Restorer:
    """Collects the records of a changelog partition and puts the executions together again."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._heads: dict[str, dict[str, Any]] = {}
        self._parts: dict[str, dict[str, bytes]] = {}

    def add(self, key: bytes, value: bytes | None) -> None:
        """Take one record; the latest of a key counts."""
        execution_id, _, part = key.decode().partition("/")
        if not part:
            if value is None:
                self._heads.pop(execution_id, None)
            else:
                self._heads[execution_id] = orjson.loads(value)
            return
        parts = self._parts.setdefault(execution_id, {})
        if value is None:
            parts.pop(part, None)
        else:
            parts[part] = value

    def receipts(self) -> Iterator[Receipt]:
        """The ended executions of which only a receipt is left."""
        for head in self._heads.values():
            if "receipt" in head:
                yield Receipt(**head["receipt"])

    def executions(self) -> Iterator[Execution]:
        """The executions that are kept whole."""
        for execution_id, head in self._heads.items():
            if "receipt" in head:
                continue
            parts = self._parts.get(execution_id, {})
            plan = orjson.loads(parts[".plan"])
            written = head.pop("steps", None)
            if written is None:
                written = [orjson.loads(raw) for name, raw in parts.items() if name != ".plan"]
            # In the order they had: those of the plan, then items and compensations.
            steps = {spec["id"]: StepState(spec["id"]) for spec in plan["steps"]}
            for fields in sorted(written, key=lambda fields: fields.get("index", 0)):
                steps[fields["id"]] = StepState(**fields)
            execution = Execution(**head, plan=plan, steps=steps)
            link(execution)
            yield execution
