"""Deleting old rows: those of executions that ended, in short transactions, one runner at a time.

Children go before their execution, and the log of an execution goes whole or not at all, after its
row: a run that is stopped leaves a database that the next one goes on with, and whose chains hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from runtime.retention import Rule

#: Advisory lock: one run at a time per database; the number is arbitrary.
_LOCK: Final = 0x72756E73_74726D33
#: Executions that are looked at together, and rows that one transaction deletes.
_PAGE: Final = 200
_ROWS: Final = 5_000
_FIRST: Final = "00000000-0000-0000-0000-000000000000"
_OLDEST: Final = datetime(1, 1, 1, tzinfo=UTC)

_OF_TENANT: Final = (
    "(%(tenant)s::text IS NULL OR tenant = %(tenant)s) AND tenant <> ALL(%(others)s::text[])"
)
_ENDED: Final = f"""
SELECT completed_at, execution_id::text FROM execution.executions
WHERE completed_at < %(before)s AND (completed_at, execution_id) > (%(at)s, %(id)s::uuid)
  AND {_OF_TENANT}
ORDER BY completed_at, execution_id LIMIT %(page)s
"""  # noqa: S608
#: Ids are ordered by the time at which they were made, which is before the end.
_LOGGED: Final = """
SELECT execution_id::text FROM (
    SELECT DISTINCT execution_id FROM execution.execution_events
    WHERE execution_id > %(id)s::uuid AND execution_id < %(bound)s::uuid
    ORDER BY execution_id LIMIT %(page)s
) AS found ORDER BY execution_id
"""
_LOGS: Final = f"""
SELECT execution_id::text, count(*) FROM execution.execution_events AS v
WHERE execution_id = ANY(%(ids)s::uuid[]) AND NOT EXISTS (
    SELECT FROM execution.executions AS e WHERE e.execution_id = v.execution_id
      AND (%(gone)s::timestamptz IS NULL OR e.completed_at IS NULL OR e.completed_at >= %(gone)s)
)
GROUP BY execution_id HAVING max(at) < %(before)s AND bool_and({_OF_TENANT})
ORDER BY execution_id
"""  # noqa: S608
_RECORD: Final = """
INSERT INTO execution.retention_runs (class, tenant, before, deleted_rows, bytes, finished)
VALUES (%s, %s, %s, %s, %s, %s)
"""
_BY_ID: Final = "execution_id = ANY(%(ids)s::uuid[])"
_BY_AGE: Final = "at < %(before)s"
#: What goes with an execution, in this order; the log is not part of it.
_WHOLE: Final = ("output", "attempts", "execution_steps", "executions")
_LOG: Final = ("audit", "approvals", "execution_events")


class Busy(Exception):
    """Another run of retention holds the lock."""


@dataclass(slots=True)
class Deleted:
    """What a rule came to, or would."""

    rule: Rule
    rows: int = 0
    bytes: int = 0
    #: All of it was looked at.
    finished: bool = False


#: Whether to stop; asked between transactions.
Stopped = Callable[[], bool]


@contextmanager
def session(dsn: str, *, exclusive: bool = True) -> Iterator[psycopg.Connection[Any]]:
    """A connection for runs, with the lock of the one runner; raises Busy and psycopg.Error."""
    with psycopg.connect(
        dsn,
        autocommit=True,
        connect_timeout=5,
        application_name="runstream-retention",
        options="-c statement_timeout=60s -c lock_timeout=5s -c timezone=UTC",
    ) as connection:
        if exclusive:
            row = connection.execute("SELECT pg_try_advisory_lock(%s)", [_LOCK]).fetchone()
            if row is None or not row[0]:
                raise Busy
        yield connection


def run(
    connection: psycopg.Connection[Any],
    rules: Iterable[Rule],
    stopped: Stopped,
    tell: Callable[[Deleted], None] = lambda deleted: None,
    *,
    dry: bool = False,
) -> Iterator[Deleted]:
    """Apply the rules one after the other; `tell` hears of each transaction.

    With `dry` rows are counted. What was deleted is recorded, also where it fails on the way.
    """
    for rule in rules:
        if stopped():
            return
        deleted = Deleted(rule)
        try:
            for rows, size in _of_rule(connection, rule, dry):
                deleted.rows += rows
                deleted.bytes += size
                tell(deleted)
                if stopped():
                    break
            else:
                deleted.finished = True
        finally:
            if deleted.rows and not dry and not connection.closed:
                given = [rule.rows, rule.tenant, rule.before, deleted.rows, deleted.bytes]
                connection.execute(_RECORD, [*given, deleted.finished])
        yield deleted


_Pieces = Iterator[tuple[int, int]]


def _of_rule(connection: psycopg.Connection[Any], rule: Rule, dry: bool) -> _Pieces:
    given = {
        "before": rule.before, "tenant": rule.tenant, "others": list(rule.others), "page": _PAGE,
        # In a dry run the executions that would have gone are still there.
        "gone": rule.executions_before if dry else None,
    }  # fmt: skip
    match rule.rows:
        case "dead_letters":
            yield from _pieces(connection, "execution_dlq", _BY_AGE, given, dry)
        case "events":
            yield from _logs(connection, given, dry)
        case "executions":
            # What goes by a rule of its own is gone by now; in a dry run it is not counted again.
            skipped = set(rule.apart) - {rule.rows} if dry else ()
            tables = tuple(name for name in _WHOLE if name not in skipped)
            yield from _ended(connection, tables, given, dry)
        case "output" | "attempts" as table:
            yield from _ended(connection, (table,), given, dry)


def _ended(
    connection: psycopg.Connection[Any], tables: tuple[str, ...], given: dict[str, Any], dry: bool
) -> _Pieces:
    """Rows of the ended executions, page by page."""
    at, ident = _OLDEST, _FIRST
    while page := connection.execute(_ENDED.encode(), {**given, "at": at, "id": ident}).fetchall():
        at, ident = page[-1]
        ids = {**given, "ids": [row[1] for row in page]}
        for table in tables:
            yield from _pieces(connection, table, _BY_ID, ids, dry)


def _logs(connection: psycopg.Connection[Any], given: dict[str, Any], dry: bool) -> _Pieces:
    """Logs of executions that have no row any more, each whole."""
    digits = f"{max(0, int(given['before'].timestamp() * 1_000)):012x}"
    bound = f"{digits[:8]}-{digits[8:12]}-0000-0000-000000000000"
    ident = _FIRST
    while page := connection.execute(
        _LOGGED.encode(), {**given, "id": ident, "bound": bound}
    ).fetchall():
        ident = page[-1][0]
        found = connection.execute(_LOGS.encode(), {**given, "ids": [row[0] for row in page]})
        for ids in _together(found.fetchall()):
            with connection.transaction():
                pieces = [
                    _piece(connection, table, _BY_ID, {"ids": ids, "rows": None}, dry)
                    for table in _LOG
                ]
            yield sum(rows for rows, _ in pieces), sum(size for _, size in pieces)


def _together(logs: Iterable[tuple[str, int]]) -> Iterator[list[str]]:
    """Executions whose logs go in one transaction: as many events as one may have, at least one."""
    ids: list[str] = []
    events = 0
    for ident, number in logs:
        if ids and events + number > _ROWS:
            yield ids
            ids, events = [], 0
        ids.append(ident)
        events += number
    if ids:
        yield ids


def _pieces(
    connection: psycopg.Connection[Any], table: str, where: str, given: dict[str, Any], dry: bool
) -> _Pieces:
    """The rows of a table, as many at a time as one transaction may delete."""
    while True:
        rows, size = _piece(connection, table, where, {**given, "rows": _ROWS}, dry)
        yield rows, size
        if dry or rows < _ROWS:
            return


def _piece(
    connection: psycopg.Connection[Any], table: str, where: str, given: dict[str, Any], dry: bool
) -> tuple[int, int]:
    """Delete rows, or count them; how many, and their bytes."""
    name = f"execution.{table}"
    if dry:
        size = "count(*), coalesce(sum(pg_column_size(t.*)), 0)"
        sql = f"SELECT {size} FROM {name} AS t WHERE {where}"  # noqa: S608
    else:
        sql = (
            f"WITH gone AS (DELETE FROM {name} AS t WHERE ctid = ANY(ARRAY("  # noqa: S608
            f"SELECT ctid FROM {name} WHERE {where} LIMIT %(rows)s)) "
            "RETURNING pg_column_size(t.*) AS size) "
            "SELECT count(*), coalesce(sum(size), 0) FROM gone"
        )
    row = connection.execute(sql.encode(), given).fetchone()
    return (0, 0) if row is None else (int(row[0]), int(row[1]))
