"""Statistics: figures of a range as a whole, by tool and procedure, as a series, and of now."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reading.executions import LATE
from reading.figures import figures, overall
from reading.models.statistics import Figures, Now, Point, Statistics

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Condition, Row

#: Points of a series, and lines by tool and by procedure.
MAX_POINTS: Final = 400
MAX_LINES: Final = 200
#: The longest range: the figures read every row of it.
MAX_DAYS: Final = 400

_DURATION: Final = "extract(epoch FROM completed_at - created_at)::double precision"
_SERIES: Final = """
SELECT least(floor(extract(epoch FROM completed_at - %(since)s) / %(span)s)::int,
             %(points)s - 1) AS place,
       count(*) AS ended,
       count(*) FILTER (WHERE status = 'completed') AS completed,
       count(*) FILTER (WHERE status IN ('failed', 'partial', 'timeout')) AS failed,
       count(*) FILTER (WHERE status = 'cancelled') AS other,
       count(*) FILTER (WHERE {late}) AS late,
       percentile_disc(0.5) WITHIN GROUP (ORDER BY {duration}) AS p50_seconds,
       percentile_disc(0.95) WITHIN GROUP (ORDER BY {duration}) AS p95_seconds,
       avg(extract(epoch FROM started_at - created_at))::double precision AS avg_queue_seconds
FROM execution.executions AS e
WHERE completed_at >= %(since)s AND completed_at < %(until)s AND status <> 'rejected'
  AND {condition}
GROUP BY 1 ORDER BY 1
"""
_ACTIVE: Final = """
SELECT status::text AS status, count(*) AS number,
       count(*) FILTER (WHERE coalesce({late}, false)) AS late
FROM execution.executions AS e
WHERE completed_at IS NULL AND status IS NOT NULL AND {condition} GROUP BY 1
"""
_OUT: Final = """
SELECT count(*) FILTER (WHERE q.status = 'dispatched') AS queued,
       count(*) FILTER (WHERE q.status <> 'dispatched') AS running,
       extract(epoch FROM now() - min(q.enqueued_at) FILTER (WHERE q.status = 'dispatched'))
           ::double precision AS oldest
FROM execution.execution_queue AS q WHERE {condition}
"""


def statistics(
    connection: Connection[Row], reader: Reader, since: datetime, until: datetime, points: int
) -> Statistics:
    """Of what the reader may see; the series has `points` spans of equal length."""
    executions = reader.condition()
    attempts = reader.sees_row_of("a")
    tools = figures(connection, "tool", since, until, attempts, MAX_LINES)
    procedures = figures(connection, "procedure", since, until, executions, MAX_LINES)
    return Statistics(
        since=since,
        until=until,
        now=now(connection, reader),
        executions=_figures(overall(connection, since, until, executions)),
        tools=[_figures(row) for row in tools],
        procedures=[_figures(row) for row in procedures],
        series=_series(connection, executions, since, until, points),
    )


def now(connection: Connection[Row], reader: Reader) -> Now:
    """What is under way."""
    visible = reader.condition()
    query = _ACTIVE.format(late=LATE, condition=visible.sql)
    active = connection.execute(query, visible.values).fetchall()
    queued = reader.sees_row_of("q")
    out = connection.execute(_OUT.format(condition=queued.sql), queued.values).fetchone() or {}
    oldest = out.get("oldest")
    return Now(
        at=datetime.now(UTC),
        active={row["status"]: row["number"] for row in active},
        late=sum(row["late"] for row in active),
        queued_attempts=out.get("queued", 0),
        running_attempts=out.get("running", 0),
        oldest_queued_seconds=None if oldest is None else round(max(0.0, oldest), 3),
    )


def _figures(row: dict[str, Any]) -> Figures:
    told: dict[str, Any] = {name: row.get(name) for name in Figures.model_fields}
    return Figures(**told)


def _series(
    connection: Connection[Row], condition: Condition, since: datetime, until: datetime, points: int
) -> list[Point]:
    span = (until - since) / points
    query = _SERIES.format(late=LATE, duration=_DURATION, condition=condition.sql)
    given = {
        **condition.values, "since": since, "until": until, "span": span.total_seconds(),
        "points": points,
    }  # fmt: skip
    found = {row["place"]: row for row in connection.execute(query, given).fetchall()}
    return [_point(since + span * place, span, found.get(place)) for place in range(points)]


def _point(begin: datetime, span: timedelta, row: Row | None) -> Point:
    told = row or {}
    ended = told.get("ended", 0)
    return Point(
        begin=begin,
        end=begin + span,
        ended=ended,
        completed=told.get("completed", 0),
        failed=told.get("failed", 0),
        other=told.get("other", 0),
        late=told.get("late", 0),
        success_rate=round(told["completed"] / ended, 4) if ended else None,
        p50_seconds=_rounded(told.get("p50_seconds")),
        p95_seconds=_rounded(told.get("p95_seconds")),
        avg_queue_seconds=_rounded(told.get("avg_queue_seconds")),
    )


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 3)
