"""Changelog: what a partition of the router remembers, as records of the compacted `router.state`.

One format, whatever the size of the plan:

- `<execution id>`: the head, what changes of the execution itself; once nothing more can follow
  but late reports, the de-duplication entry in its place (`{"entry": ...}`).
- `<execution id>/.plan`: what admission decided, written once.
- `<execution id>/<step>`: one record per step that anything happened to.

Every record carries the number of the last event when it was written, so the latest of all is the
number of the execution's last event; one of those that were written with it carries its chain.
The plan and the steps of an ended execution stay as long as a rerun may start from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any, Final, NamedTuple

import orjson

from processors.router.entries import DedupEntry, StepEntry
from processors.router.state import Execution, FailedAttempt, StepState, derive, inner_steps
from streams.admitted import decode_plan, encode_plan
from streams.lifecycle import RERUNNABLE
from streams.procedures import ProcedureRun
from streams.started import StartedBy

_PLAN: Final = ".plan"
#: Settled at admission.
_FIXED: Final = (
    "id", "tenant", "actor", "idempotency_key", "plan_hash", "mode", "sla_class", "action_class",
    "environment", "priority", "timeout_seconds", "approval_level", "accepted_at", "run",
    "rerun_of", "earlier_actors", "claimed_actor", "signed_at",
    "definitions", "procedure", "started_by", "sla_seconds", "trace",
)  # fmt: skip
#: What changes.
_HEAD: Final = (
    "seq", "chain", "status", "approval_expires_at", "approved_by", "started_at", "ended_at",
    "paused_at", "paused_seconds", "ending", "ending_reason", "stopping", "signed", "forged",
    "locks", "locks_lost", "outcome", "outcome_reason", "finally_at", "finally_ending",
    "sla_breached",
)  # fmt: skip
_fixed_of: Final = attrgetter(*_FIXED)
_head_of: Final = attrgetter(*_HEAD)
#: Of a step, everything but its id and what is derived; apart from these, what is false or empty
#: is as it is for a step to which nothing has happened.
_NOT_KEPT: Final = frozenset(
    {
        *("id", "output", "items", "reported"),
        *("lease_until", "progress", "progress_at", "heard_at", "held_at", "path"),
    }
)
_STEP: Final = tuple(item.name for item in fields(StepState) if item.name not in _NOT_KEPT)
_step_of: Final = attrgetter(*_STEP)
_ENTRY: Final = tuple(item.name for item in fields(DedupEntry) if item.name != "steps")
_entry_of: Final = attrgetter(*_ENTRY)


class ChangelogRecord(NamedTuple):
    """One record of `router.state`; without a value it deletes."""

    key: bytes
    value: bytes | None


@dataclass(slots=True)
class Change:
    """What of an execution must be written: its plan, its head, and these steps."""

    new: bool = False
    head: bool = False
    steps: dict[str, None] = field(default_factory=dict)


def records(execution: Execution, change: Change) -> Iterator[ChangelogRecord]:
    """The records that a change of a living execution makes necessary."""
    if change.new:
        fixed: dict[str, Any] = dict(zip(_FIXED, _fixed_of(execution), strict=True))
        fixed["plan"] = orjson.Fragment(encode_plan(execution.plan))
        yield ChangelogRecord(f"{execution.id}/{_PLAN}".encode(), orjson.dumps(fixed))
    if change.head:
        head = dict(zip(_HEAD, _head_of(execution), strict=True))
        yield ChangelogRecord(execution.id.encode(), orjson.dumps({"head": head}))
    chain = None if change.head else execution.chain
    for name in change.steps:
        key = f"{execution.id}/{name}".encode()
        body = _step_fields(execution.steps[name], execution.seq)
        if chain is not None:
            body["c"], chain = chain, None
        yield ChangelogRecord(key, orjson.dumps(body))


def ended_records(
    execution: Execution, change: Change, entry: DedupEntry
) -> Iterator[ChangelogRecord]:
    """The records of the end: the entry, and what a rerun needs or, where none can be, tombstones.

    Only an execution that was written before has something to delete.
    """
    yield entry_record(entry)
    if execution.status in RERUNNABLE:
        yield from records(execution, Change(new=change.new, steps=change.steps))
    elif not change.new:
        yield from tombstones(execution.id, [_PLAN, *execution.steps])


def all_parts(execution: Execution) -> dict[str, bytes]:
    """The plan and every step as their records hold them, by the part of the key."""
    steps = dict.fromkeys(execution.steps)
    found = records(execution, Change(new=True, steps=steps))
    return {key.decode().partition("/")[2]: value for key, value in found if value is not None}


def entry_record(entry: DedupEntry) -> ChangelogRecord:
    """The one record of a de-duplication entry."""
    return ChangelogRecord(entry.id.encode(), orjson.dumps({"entry": entry_fields(entry)}))


def entry_fields(entry: DedupEntry) -> dict[str, Any]:
    """The entry as JSON can hold it."""
    steps = {
        name: [step.attempt, f"{step.reported:x}", step.late, step.domain]
        for name, step in entry.steps.items()
    }
    return {**dict(zip(_ENTRY, _entry_of(entry), strict=True)), "steps": steps}


def entry_of(body: dict[str, Any]) -> DedupEntry:
    """The entry that `entry_fields` wrote."""
    steps = {
        name: StepEntry(attempt, int(reported, 16), *others)
        for name, (attempt, reported, *others) in body["steps"].items()
    }
    procedure = _procedure(body.get("procedure"))
    return DedupEntry(**{**body, "steps": steps, "procedure": procedure})


def _procedure(body: dict[str, Any] | None) -> ProcedureRun | None:
    return None if body is None else ProcedureRun(**body)


def tombstones(execution_id: str, parts: Iterable[str]) -> Iterator[ChangelogRecord]:
    """Delete the records of these parts (`.plan` and steps) of an execution."""
    for part in parts:
        yield ChangelogRecord(f"{execution_id}/{part}".encode(), None)


def _step_fields(step: StepState, seq: int) -> dict[str, Any]:
    """Only what has happened to the step, and the number `s`."""
    body = {name: value for name, value in zip(_STEP, _step_of(step), strict=True) if value}
    body["s"] = seq
    if step.output is not None:
        body["output"] = step.output
    if step.items is not None:
        body["items"] = step.items
    if step.reported:
        # As text, since it may be wider than the 64 bits of a JSON integer.
        body["reported"] = f"{step.reported:x}"
    return body


def _step(name: str, body: dict[str, Any]) -> StepState:
    reported = int(body.pop("reported", "0"), 16)
    failures = tuple(FailedAttempt(**failed) for failed in body.pop("failures", ()))
    used = tuple(body.pop("used", ()))
    return StepState(name, reported=reported, failures=failures, used=used, **body)


def restore_execution(head: bytes | None, parts: dict[str, bytes]) -> Execution:
    """The execution that its records describe; `head` is the value under its id.

    Raises KeyError, TypeError or ValueError where they are not ours.
    """
    fixed = orjson.loads(parts[_PLAN])
    plan = decode_plan(fixed.pop("plan"))
    procedure = _procedure(fixed.pop("procedure", None))
    started_by = fixed.pop("started_by", None)
    execution = Execution(
        **fixed,
        plan=plan,
        procedure=procedure,
        started_by=None if started_by is None else StartedBy(**started_by),
    )
    found = {name: orjson.loads(raw) for name, raw in parts.items() if name != _PLAN}
    if head is not None:
        for name, value in orjson.loads(head)["head"].items():
            setattr(execution, name, value)
    for body in found.values():
        seq, chain = body.pop("s"), body.pop("c", None)
        if seq > execution.seq:
            execution.seq, execution.chain = seq, chain
        elif seq == execution.seq:
            execution.chain = chain or execution.chain
    execution.steps = {spec.id: StepState(spec.id) for spec in plan.roots}
    derive(execution)
    waiting = list(execution.steps.values())
    while waiting:
        name = waiting.pop().id
        if name in found:
            step = execution.steps[name] = _step(name, found.pop(name))
            inner = inner_steps(execution, step)
            execution.steps.update((one.id, one) for one in inner)
            waiting += inner
    for name, body in found.items():
        execution.steps[name] = _step(name, body)
    derive(execution)
    return execution


def is_entry(value: bytes) -> bool:
    """Whether the value under an execution's id is its de-duplication entry."""
    return value.startswith(b'{"entry"')
