"""Derive the tables from events, inside a transaction of the caller."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from typing import Any, Final

import orjson
from psycopg import Connection, Cursor

from sinks.patches import Patch, Patches, StepKey
from sinks.records import EventRow, stored_event
from sinks.rows import fold, refold
from sinks.tables import (
    APPROVALS,
    ATTEMPTS,
    AUDIT,
    DERIVED,
    EVENTS,
    EXECUTIONS,
    LOCKS,
    QUEUE,
    STEPS,
    Table,
)

#: How many stored events are in memory at once while an execution is derived anew.
_PAGE: Final = 2_000

_STORED: Final = """
SELECT event_id, execution_id::text, seq, event_type, at, tenant, step, attempt, data
FROM execution.execution_events WHERE execution_id = ANY(%s::uuid[]) ORDER BY execution_id, seq
"""
#: Uses a partial index of just these rows, so the size of the plan makes no difference.
_CANCELLING: Final = """
SELECT execution_id::text, step FROM execution.execution_steps
WHERE cancel_requested_at IS NOT NULL AND execution_id = ANY(%s::uuid[])
"""
_WITHDRAW: Final = """
UPDATE execution.approvals AS a SET state = 'cancelled', decided_at = e.completed_at
FROM execution.executions AS e
WHERE a.execution_id = ANY(%s::uuid[]) AND a.state = 'pending' AND e.execution_id = a.execution_id
"""
_UNQUEUE_ALL: Final = "DELETE FROM execution.execution_queue WHERE execution_id = ANY(%s::uuid[])"
_UNQUEUE: Final = """
DELETE FROM execution.execution_queue AS q
USING unnest(%s::uuid[], %s::text[], %s::int[]) AS gone (execution_id, step, attempt)
WHERE (q.execution_id, q.step, q.attempt) = (gone.execution_id, gone.step, gone.attempt)
"""
_UNLOCK: Final = """
DELETE FROM execution.execution_locks AS l
USING unnest(%s::uuid[], %s::text[]) AS gone (execution_id, asset)
WHERE (l.execution_id, l.asset) = (gone.execution_id, gone.asset)
"""
#: Where the terminal event names no error, the execution gets that of the first failed step.
_EXPLAIN: Final = """
UPDATE execution.executions AS e
SET error_class = COALESCE(e.error_class, s.error_class),
    error_message = COALESCE(e.error_message, s.step || ': ' || s.error_message)
FROM (
    SELECT DISTINCT ON (execution_id) execution_id, step, error_class, error_message
    FROM execution.execution_steps
    WHERE execution_id = ANY(%s::uuid[]) AND status IN ('failed', 'timed_out')
    ORDER BY execution_id, completed_at, step_index, step
) AS s
WHERE s.execution_id = e.execution_id
"""


def store_events(connection: Connection[Any], events: Iterable[EventRow]) -> None:
    """Store events and what follows from them; those that are stored already change nothing.

    Raises psycopg.Error; the caller decides whether it is due to a row.
    """
    unique = {event.event_id: event for event in events}
    with connection.cursor() as cursor:
        copy(cursor, EVENTS, (_event_row(event) for event in unique.values()))
        cursor.execute(EVENTS.insert + " RETURNING event_id")
        stored = cursor.fetchall()
        if len(stored) == len(unique):
            fresh = list(unique.values())
        else:
            ids = {row[0] for row in stored}
            fresh = [event for event in unique.values() if event.event_id in ids]
        _derive(cursor, fresh)


def _derive(cursor: Cursor[Any], fresh: list[EventRow]) -> None:
    cancelling = _cancelling(cursor, fresh)
    folded = fold(fresh, cancelling=cancelling)
    rebuild = folded.rebuild
    if rebuild:
        folded = fold(fresh, without=rebuild, cancelling=cancelling)
    late = _write_executions(cursor, folded.patches)
    if late:
        rebuild |= late
        folded = fold(fresh, without=rebuild, cancelling=cancelling)
    _write_rest(cursor, folded.patches)
    for execution_id in sorted(rebuild):
        _rebuild(cursor, execution_id)


def _cancelling(cursor: Cursor[Any], fresh: list[EventRow]) -> set[StepKey]:
    """The stored steps of these executions that are being cancelled."""
    known = {row.event.execution_id for row in fresh if row.event.step is not None}
    if not known:
        return set()
    return set(cursor.execute(_CANCELLING, [list(known)]).fetchall())


def _rebuild(cursor: Cursor[Any], execution_id: str) -> None:
    """Derive an execution anew from all of its stored events."""
    cursor.execute(_STORED, [[execution_id]])
    patches = refold(_stored(cursor))
    for table in DERIVED:
        cursor.execute(
            f"DELETE FROM execution.{table.name} WHERE execution_id = %s",  # noqa: S608
            [execution_id],
        )
    _write_executions(cursor, patches)
    _write_rest(cursor, patches)


def _stored(cursor: Cursor[Any]) -> Iterator[EventRow]:
    while page := cursor.fetchmany(_PAGE):
        for event_id, execution_id, seq, kind, at, tenant, step, attempt, data in page:
            event = stored_event(execution_id, seq, kind, at, tenant, step, attempt, data)
            yield EventRow(event_id, event, orjson.dumps(data).decode())


def _write_executions(cursor: Cursor[Any], patches: Patches) -> set[str]:
    """Merge the executions; returns those whose stored row is ahead of the patch."""
    if not patches.executions:
        return set()
    copy(cursor, EXECUTIONS, _rows(EXECUTIONS, patches.executions.values()))
    cursor.execute(EXECUTIONS.upsert + " RETURNING execution_id::text")
    return patches.executions.keys() - {row[0] for row in cursor.fetchall()}


def _write_rest(cursor: Cursor[Any], patches: Patches) -> None:
    queue = [row for row in patches.queue.values() if row is not None]
    for table, rows in (
        (STEPS, patches.steps.values()),
        (ATTEMPTS, patches.attempts.values()),
        (APPROVALS, patches.approvals.values()),
        (QUEUE, queue),
    ):
        if rows:
            copy(cursor, table, _rows(table, rows))
            cursor.execute(table.upsert)
    if patches.audits:
        copy(cursor, AUDIT, _rows(AUDIT, patches.audits))
        cursor.execute(AUDIT.insert)
    _write_locks(cursor, patches)
    gone = [key for key, row in patches.queue.items() if row is None]
    if gone:
        cursor.execute(_UNQUEUE, [list(column) for column in zip(*gone, strict=True)])
    _end(cursor, patches.ended)


def _write_locks(cursor: Cursor[Any], patches: Patches) -> None:
    """An asset has one row: that of the highest token among those who hold it."""
    gone = [key for key, row in patches.locks.items() if row is None]
    if gone:
        cursor.execute(_UNLOCK, [list(column) for column in zip(*gone, strict=True)])
    latest: dict[tuple[str, str], Patch] = {}
    for row in patches.locks.values():
        if row is not None:
            known = latest.get((row["tenant"], row["asset"]))
            if known is None or known["fencing_token"] < row["fencing_token"]:
                latest[row["tenant"], row["asset"]] = row
    if latest:
        copy(cursor, LOCKS, _rows(LOCKS, latest.values()))
        cursor.execute(LOCKS.upsert)


def _end(cursor: Cursor[Any], ended: dict[str, str]) -> None:
    if not ended:
        return
    cursor.execute(_UNQUEUE_ALL, [list(ended)])
    undecided = [name for name, status in ended.items() if status in ("cancelled", "timeout")]
    if undecided:
        cursor.execute(_WITHDRAW, [undecided])
    failed = [name for name, status in ended.items() if status in ("failed", "partial")]
    if failed:
        cursor.execute(_EXPLAIN, [failed])


def copy(cursor: Cursor[Any], table: Table, rows: Iterable[tuple[Any, ...]]) -> None:
    """Fill the session's copy of `table`; rows of this transaction in it are deleted first."""
    cursor.execute(table.clear)
    with cursor.copy(table.copy) as target:
        for row in rows:
            target.write_row(row)


def _rows(table: Table, patches: Collection[Patch]) -> Iterator[tuple[Any, ...]]:
    if not table.json:
        for patch in patches:
            yield tuple(map(patch.get, table.columns))
        return
    for patch in patches:
        for name in table.json:
            value = patch.get(name)
            if value is not None:
                patch[name] = orjson.dumps(value).decode()
        yield tuple(map(patch.get, table.columns))


def _event_row(row: EventRow) -> tuple[Any, ...]:
    event = row.event
    return (
        row.event_id, event.execution_id, event.seq, event.type, event.at, event.tenant,
        event.step, event.attempt, row.data_json, event.chain, row.signature,
    )  # fmt: skip
