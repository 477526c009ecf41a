"""The queries of `runstream list` and `runstream stats`: filters, pages and figures; read-only."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final, Literal

if TYPE_CHECKING:
    from psycopg import Connection

Row = dict[str, Any]
By = Literal["tool", "procedure"]

#: As the index has it; see ddl/0014.
_WORDS: Final = (
    "to_tsvector('simple', coalesce(name, '') || ' ' || coalesce(status_reason, '') || ' ' "
    "|| coalesce(error_message, ''))"
)
_LATE: Final = (
    "((completed_at IS NOT NULL AND extract(epoch FROM completed_at - created_at) > sla_seconds) "
    "OR (completed_at IS NULL AND created_at + sla_seconds * interval '1 second' < now()))"
)
#: A filter that is given, and its condition on `execution.executions`.
_CONDITIONS: Final = {
    "tenant": "tenant = %(tenant)s",
    "status": "status = %(status)s::execution.execution_status",
    "actor": "actor = %(actor)s",
    "procedure": "procedure = %(procedure)s",
    "started_by": "started_by = %(started_by)s",
    "environment": "environment = %(environment)s",
    "since": "created_at >= %(since)s",
    "until": "created_at < %(until)s",
    "words": f"{_WORDS} @@ websearch_to_tsquery('simple', %(words)s)",
    "asset": "execution_id IN (SELECT execution_id FROM execution.execution_steps "
    "WHERE target = %(asset)s)",
}
_LIST: Final = """
SELECT execution_id::text, tenant, name, actor, environment, status::text, status_reason,
       procedure, started_by_kind, started_by, total_steps, step_counts, created_at,
       completed_at, duration_seconds, error_message, {late} AS late
FROM execution.executions
WHERE {conditions}
ORDER BY created_at DESC, execution_id DESC LIMIT %(rows)s
"""
_AFTER: Final = (
    "(created_at, execution_id) < "
    "(SELECT created_at, execution_id FROM execution.executions WHERE execution_id = %(after)s)"
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which executions are asked for; what is None is not asked."""

    tenant: str | None = None
    status: str | None = None
    actor: str | None = None
    procedure: str | None = None
    started_by: str | None = None
    environment: str | None = None
    asset: str | None = None
    words: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    late: bool = False

    def given(self) -> dict[str, Any]:
        """The values of the filters that are asked for."""
        found = {name: getattr(self, name) for name in _CONDITIONS}
        return {name: value for name, value in found.items() if value is not None}


def executions(
    connection: Connection[Row], wanted: Wanted, limit: int, after: str | None = None
) -> list[Row]:
    """The latest executions that match, newest first; `after` is the last id of the page before."""
    given = wanted.given()
    conditions = [_CONDITIONS[name] for name in given]
    if wanted.late:
        conditions.append(_LATE)
    if after is not None:
        conditions.append(_AFTER)
    query = _LIST.format(conditions=" AND ".join(conditions) or "true", late=_LATE)
    return connection.execute(query, {**given, "after": after, "rows": limit}).fetchall()


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
FROM execution.attempts
WHERE completed_at >= %(since)s AND completed_at < %(until)s
  AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
GROUP BY tool ORDER BY count(*) DESC, tool LIMIT %(rows)s
"""
_PROCEDURES: Final = """
SELECT coalesce(procedure, name) AS name, procedure IS NOT NULL AS is_procedure, {figures},
       count(*) FILTER (WHERE {late}) AS late
FROM execution.executions
WHERE created_at >= %(since)s AND created_at < %(until)s AND completed_at IS NOT NULL
  AND status <> 'rejected' AND (%(tenant)s::text IS NULL OR tenant = %(tenant)s)
GROUP BY 1, 2 ORDER BY count(*) DESC, 1 LIMIT %(rows)s
"""


def _figures(duration: str, queued: str, good: str) -> str:
    ranks = {
        name: _RANK.format(d=duration, p=part)
        for name, part in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))
    }
    return _FIGURES.format(d=duration, queued=queued, good=good, **ranks)


def figures(
    connection: Connection[Row],
    by: By,
    since: datetime,
    until: datetime,
    tenant: str | None,
    limit: int,
) -> list[Row]:
    """Counts, success, durations and queue times of what ended in a range, the most frequent first.

    By tool they are those of attempts; by procedure (or the name of a plan that is none) those of
    executions, from admission to end, with how many were late.
    """
    if by == "tool":
        queued = "extract(epoch FROM started_at - dispatched_at)"
        query = _TOOLS.format(figures=_figures("duration_seconds", queued, "succeeded"))
    else:
        queued = "extract(epoch FROM started_at - created_at)"
        duration = "extract(epoch FROM completed_at - created_at)"
        query = _PROCEDURES.format(figures=_figures(duration, queued, "completed"), late=_LATE)
    given = {"since": since, "until": until, "tenant": tenant, "rows": limit}
    rows = connection.execute(query, given).fetchall()
    for row in rows:
        row["success_rate"] = round(row["succeeded"] / row["count"], 4)
        if "late" in row:
            row["sla_compliance"] = round(1 - row["late"] / row["count"], 4)
        for name, value in row.items():
            if name.endswith("_seconds") and value is not None:
                row[name] = round(float(value), 3)
    return rows
