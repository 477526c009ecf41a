"""Figures of what ended in a range: counts, success, durations, queue times, promises kept."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Final

from reading.executions import LATE
from reading.models.statistics import By
from reading.rows import Condition

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.rows import Row

#: Nearest rank as the reference has it: the value at position `int(p * n)` of the sorted ones.
_RANK: Final = "(array_agg({d} ORDER BY {d}))[least(floor({p} * count({d}))::int + 1, count({d}))]"
_FIGURES: Final = """
       count(*) AS count,
       count(*) FILTER (WHERE status = '{good}') AS succeeded,
       avg({d}) AS avg_seconds, min({d}) AS min_seconds, max({d}) AS max_seconds,
       {p50} AS p50_seconds, {p95} AS p95_seconds, {p99} AS p99_seconds,
       avg({queued}) AS avg_queue_seconds, max({queued}) AS max_queue_seconds
"""
_TOOLS: Final = """
SELECT tool AS name, {figures}
FROM execution.attempts AS a
WHERE completed_at >= %(since)s AND completed_at < %(until)s AND {condition}
GROUP BY tool ORDER BY count(*) DESC, tool LIMIT %(rows)s
"""
_ENDED: Final = """
FROM execution.executions AS e
WHERE created_at >= %(since)s AND created_at < %(until)s AND completed_at IS NOT NULL
  AND status <> 'rejected' AND {condition}
"""
_PROCEDURES: Final = (
    """
SELECT coalesce(procedure, name) AS name, procedure IS NOT NULL AS is_procedure, {figures},
       count(*) FILTER (WHERE {late}) AS late
"""
    + _ENDED
    + "GROUP BY 1, 2 ORDER BY count(*) DESC, 1 LIMIT %(rows)s"
)
_ALL: Final = "SELECT {figures}, count(*) FILTER (WHERE {late}) AS late" + _ENDED
_QUEUED: Final = "extract(epoch FROM started_at - created_at)"
_DURATION: Final = "extract(epoch FROM completed_at - created_at)"

EVERY: Final = Condition("true", {})


def of_tenant(tenant: str | None, table: str) -> Condition:
    """Rows of this tenant; of every one where it is None."""
    if tenant is None:
        return EVERY
    return Condition(f"{table}.tenant = %(tenant)s", {"tenant": tenant})


def figures(
    connection: Connection[Row],
    by: By,
    since: datetime,
    until: datetime,
    condition: Condition,
    limit: int,
) -> list[Row]:
    """Of each tool or procedure, the most frequent first.

    By tool they are those of attempts (`a` in the condition) that ended in the range; by procedure
    (or the name of a plan that is none) those of executions (`e`) that were admitted in the range
    and have ended, from admission to end, with how many were late.
    """
    if by == "tool":
        queued = "extract(epoch FROM started_at - dispatched_at)"
        columns = _columns("duration_seconds", queued, "succeeded")
        query = _TOOLS.format(figures=columns, condition=condition.sql)
    else:
        columns = _columns(_DURATION, _QUEUED, "completed")
        query = _PROCEDURES.format(figures=columns, late=LATE, condition=condition.sql)
    given = {**condition.values, "since": since, "until": until, "rows": limit}
    return [completed(row) for row in connection.execute(query, given).fetchall()]


def overall(
    connection: Connection[Row], since: datetime, until: datetime, condition: Condition
) -> Row:
    """The same of all executions (`e`) together."""
    columns = _columns(_DURATION, _QUEUED, "completed")
    query = _ALL.format(figures=columns, late=LATE, condition=condition.sql)
    given = {**condition.values, "since": since, "until": until}
    found = connection.execute(query, given).fetchone()
    return completed(found or {"count": 0, "succeeded": 0, "late": 0})


def completed(row: Row) -> Row:
    """With the rates, and seconds as numbers of three decimals."""
    number = row["count"]
    row["success_rate"] = round(row["succeeded"] / number, 4) if number else None
    if "late" in row:
        row["sla_compliance"] = round(1 - row["late"] / number, 4) if number else None
    for name, value in row.items():
        if name.endswith("_seconds") and value is not None:
            row[name] = round(float(value), 3)
    return row


def _columns(duration: str, queued: str, good: str) -> str:
    ranks = {
        name: _RANK.format(d=duration, p=part)
        for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return _FIGURES.format(d=duration, queued=queued, good=good, **ranks)
