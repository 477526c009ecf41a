"""Executions: filters, pages and counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from reading import cursors
from reading.models.executions import ExecutionCounts, ExecutionPage, ExecutionSummary
from reading.step_counts import Counted, counted
from streams.lifecycle import ENDED

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Condition, Row

#: Executions on one page.
MAX_PAGE: Final = 500
#: Executions that are counted by status; of more, the newest.
MAX_COUNTED: Final = 10_000

#: As the index has it; see ddl/0014.
_WORDS: Final = (
    "to_tsvector('simple', coalesce(name, '') || ' ' || coalesce(status_reason, '') || ' ' "
    "|| coalesce(error_message, ''))"
)
#: Of a row of `execution.executions`: whether it takes or took longer than its class promises.
LATE: Final = (
    "((completed_at IS NOT NULL AND extract(epoch FROM completed_at - created_at) > sla_seconds) "
    "OR (completed_at IS NULL AND created_at + sla_seconds * interval '1 second' < now()))"
)
#: A filter that is given, and its condition on `execution.executions`.
_CONDITIONS: Final = {
    "tenant": "e.tenant = %(tenant)s",
    "statuses": "status = ANY(%(statuses)s::execution.execution_status[])",
    "actor": "actor = %(actor)s",
    "procedure": "procedure = %(procedure)s",
    "started_by": "started_by = %(started_by)s",
    "started_by_kind": "started_by_kind = %(started_by_kind)s",
    "environment": "environment = %(environment)s",
    "since": "created_at >= %(since)s",
    "until": "created_at < %(until)s",
    "words": f"{_WORDS} @@ websearch_to_tsquery('simple', %(words)s)",
    "asset": "execution_id IN (SELECT execution_id FROM execution.execution_steps "
    "WHERE target = %(asset)s)",
}
#: The columns of a list.
COLUMNS: Final = f"""
       execution_id::text, tenant, name, actor, environment, status::text, status_reason,
       procedure, procedure_version, started_by_kind, started_by, approval_level, priority,
       sla_class::text, action_class, total_steps, step_counts, created_at, started_at,
       completed_at, duration_seconds, sla_seconds, error_class, error_message, {LATE} AS late
"""
_LIST: Final = """
SELECT {columns}
FROM execution.executions AS e
WHERE {conditions}
ORDER BY created_at DESC, execution_id DESC LIMIT %(rows)s
"""
_AFTER: Final = (
    "(created_at, execution_id) < "
    "(SELECT created_at, execution_id FROM execution.executions WHERE execution_id = %(after)s)"
)
_AFTER_PLACE: Final = "(created_at, execution_id) < (%(after_at)s, %(after_id)s::uuid)"
_COUNTS: Final = """
SELECT status, count(*) AS number, count(*) FILTER (WHERE late) AS late
FROM (SELECT status::text, coalesce({late}, false) AS late FROM execution.executions AS e
      WHERE {conditions} ORDER BY created_at DESC LIMIT %(rows)s) AS newest
GROUP BY status
"""
_KNOWN: Final = """
SELECT 1 AS known FROM execution.executions AS e
WHERE execution_id = %(id)s::uuid AND {visible}
"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which executions are asked for; what is None is not asked."""

    tenant: str | None = None
    statuses: tuple[str, ...] | None = None
    actor: str | None = None
    procedure: str | None = None
    started_by: str | None = None
    environment: str | None = None
    asset: str | None = None
    words: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    late: bool = False
    started_by_kind: str | None = None

    def given(self) -> dict[str, Any]:
        """The values of the filters that are asked for."""
        found = {name: getattr(self, name) for name in _CONDITIONS}
        given = {name: value for name, value in found.items() if value is not None}
        if self.statuses is not None:
            given["statuses"] = list(self.statuses)
        return given

    def conditions(self) -> list[str]:
        """What holds of the executions that are asked for."""
        found = [_CONDITIONS[name] for name in self.given()]
        return [*found, LATE] if self.late else found


def rows(
    connection: Connection[Row], wanted: Wanted, limit: int, after: str | None = None
) -> list[Row]:
    """The latest executions that match, newest first; `after` is the last id of the page before."""
    conditions = wanted.conditions()
    if after is not None:
        conditions.append(_AFTER)
    given = {**wanted.given(), "after": after, "rows": limit}
    return connection.execute(_query(_LIST, conditions), given).fetchall()


def page(
    connection: Connection[Row],
    reader: Reader,
    wanted: Wanted,
    limit: int,
    after: str | None = None,
) -> ExecutionPage:
    """A page of what the reader may see, newest first; raises CursorError."""
    limit = min(limit, MAX_PAGE)
    visible = reader.condition()
    conditions = [visible.sql, *wanted.conditions()]
    given = {**visible.values, **wanted.given(), "rows": limit + 1}
    if after is not None:
        at, ident = cursors.decode("executions", after, str, str)
        conditions.append(_AFTER_PLACE)
        given |= {"after_at": cursors.moment(at), "after_id": cursors.ident(ident)}
    found = connection.execute(_query(_LIST, conditions), given).fetchall()
    shown = found[:limit]
    following = None
    if len(found) > limit:
        last = shown[-1]
        following = cursors.encode(
            "executions", last["created_at"].isoformat(), last["execution_id"]
        )
    return ExecutionPage(executions=summaries(connection, shown), next=following)


def counts(connection: Connection[Row], reader: Reader, wanted: Wanted) -> ExecutionCounts:
    """How many match, by status; the filter by status is left out."""
    visible = reader.condition()
    unfiltered = Wanted(
        **{
            name: getattr(wanted, name)
            for name in ("actor", "procedure", "started_by", "environment", "asset", "words",
                         "since", "until", "late", "started_by_kind")
        }
    )  # fmt: skip
    conditions = [visible.sql, *unfiltered.conditions()]
    given = {**visible.values, **unfiltered.given(), "rows": MAX_COUNTED + 1}
    found = connection.execute(_query(_COUNTS, conditions), given).fetchall()
    total = sum(row["number"] for row in found)
    return ExecutionCounts(
        counts={row["status"]: row["number"] for row in found if row["status"] is not None},
        late=sum(row["late"] for row in found),
        total=min(total, MAX_COUNTED),
        complete=total <= MAX_COUNTED,
    )


def known(connection: Connection[Row], reader: Reader, ident: str) -> bool:
    """Whether there is an execution of this id that the reader may see."""
    visible = reader.condition()
    query = _KNOWN.format(visible=visible.sql)
    return connection.execute(query, {**visible.values, "id": ident}).fetchone() is not None


def by_ids(
    connection: Connection[Row], condition: Condition, idents: Sequence[str]
) -> dict[str, ExecutionSummary]:
    """Of these executions those for which the condition holds, by id."""
    conditions = [condition.sql, "execution_id = ANY(%(ids)s::uuid[])"]
    given = {**condition.values, "ids": list(idents), "rows": len(idents)}
    found = connection.execute(_query(_LIST, conditions), given).fetchall()
    return {one.execution_id: one for one in summaries(connection, found)}


def summaries(connection: Connection[Row], found: Sequence[Row]) -> list[ExecutionSummary]:
    """Rows with the columns of a list, with the steps of those that have not ended."""
    live = [row["execution_id"] for row in found if row["completed_at"] is None]
    steps = counted(connection, live) if live else {}
    return [ExecutionSummary(**fields(row, steps.get(row["execution_id"]))) for row in found]


def fields(row: Row, steps: Counted | None) -> dict[str, Any]:
    """The fields of a summary that stand in a row with the columns of a list."""
    told = {name: row[name] for name in ExecutionSummary.model_fields if name in row}
    told["late"] = bool(row["late"])
    if row["status"] in ENDED or row["completed_at"] is not None:
        told["percent"] = 100.0
    else:
        told["percent"] = 0.0 if steps is None else steps.percent
        told["step_counts"] = None if steps is None else steps.by_status
    return told


def _query(query: str, conditions: list[str]) -> str:
    return query.format(conditions=" AND ".join(conditions) or "true", columns=COLUMNS, late=LATE)
