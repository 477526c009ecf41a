"""Changelog: an execution as records on the compacted `router.state` topic, and back.

`<id>/.plan` holds what admission settled, written once; `<id>` is the head, what changes. The steps
of a small execution stand in its head, so that a report costs one record; those of a large one
stand alone under `<id>/<step>`, so that a report costs two small records whatever the plan's size.
An ended execution that may be run again keeps its records until its idempotency key is forgotten;
of the others only a receipt stays under `<id>`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from operator import attrgetter
from typing import Any, Final

import orjson

from processors.router.state import ENDED, Execution, Receipt, StepState, link

#: Ended executions from which a rerun can start.
RERUNNABLE: Final = frozenset({"failed", "partial", "cancelled", "timeout"})

#: Up to this many steps an execution is small.
SMALL: Final = 32

Piece = tuple[bytes, bytes | None]

#: Settled at admission.
_FIXED: Final = (
    "id", "tenant", "actor", "idempotency_key", "plan_hash", "mode", "sla_class", "action_class",
    "environment", "priority", "timeout_seconds", "approval_level", "accepted_at", "rerun_of",
)  # fmt: skip
#: What changes.
_HEAD: Final = (
    "seq", "status", "approval_expires_at", "started_at", "ended_at", "paused_at",
    "paused_seconds", "ending", "ending_reason", "stopping",
)  # fmt: skip
_head_of: Final = attrgetter(*_HEAD)


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
    head: dict[str, Any] = dict(zip(_HEAD, _head_of(execution), strict=True))
    if small:
        head["steps"] = [_piece(step) for step in execution.steps.values() if not _fresh(step)]
    yield key.encode(), orjson.dumps(head)
    if new:
        fixed = {name: getattr(execution, name) for name in _FIXED}
        yield f"{key}/.plan".encode(), orjson.dumps({**fixed, "plan": execution.plan})
    if not small:
        for name in dirty:
            yield f"{key}/{name}".encode(), orjson.dumps(_fields(execution.steps[name]))


def _fresh(step: StepState) -> bool:
    """A step of the plan that nothing has happened to needs no record."""
    return step.status == "pending" and step.parent is None and step.undoes is None


def _piece(step: StepState) -> orjson.Fragment:
    """The step as JSON, made anew only after it changed; an ended step is never made again."""
    if step.written is None:
        step.written = orjson.dumps(_fields(step))
    return orjson.Fragment(step.written)


def _fields(step: StepState) -> dict[str, Any]:
    """Only what is set, since most of it is not."""
    fields: dict[str, Any] = {"id": step.id, "status": step.status}
    if step.attempt:
        fields["attempt"] = step.attempt
        fields["in_flight"] = step.in_flight
        fields["dispatched_at"] = step.dispatched_at
        fields["executor"] = step.executor
        fields["started_at"] = step.started_at
    if step.ended_at:
        fields["ended_at"] = step.ended_at
        fields["output"] = step.output
        fields["error"] = step.error
    elif step.error is not None:
        fields["error"] = step.error
    if step.waiting is not None:
        fields["waiting"] = step.waiting
        fields["retry_at"] = step.retry_at
    if step.failures:
        fields["failures"] = step.failures
    if step.parent is not None:
        fields["parent"] = step.parent
        fields["index"] = step.index
        fields["item"] = step.item
    if step.children is not None:
        fields["children"] = step.children
        fields["started_at"] = step.started_at
    if step.undoes is not None:
        fields["undoes"] = step.undoes
    if step.late:
        fields["late"] = step.late
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
            fixed = orjson.loads(parts[".plan"])
            plan = fixed["plan"]
            written = head.pop("steps", None)
            if written is None:
                written = [orjson.loads(raw) for name, raw in parts.items() if name != ".plan"]
            # In the order they had: those of the plan, then items and compensations.
            steps = {spec["id"]: StepState(spec["id"]) for spec in plan["steps"]}
            for fields in sorted(written, key=lambda fields: fields.get("index", 0)):
                steps[fields["id"]] = StepState(**fields)
            execution = Execution(**fixed, **head, steps=steps)
            link(execution)
            yield execution
