"""Steps of one execution, and their attempts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from reading import cursors
from reading.models.steps import (
    Attempt,
    AttemptPage,
    StepDetail,
    StepPage,
    StepStream,
    StepSummary,
    StreamExcerpt,
)

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Row

#: Steps, and attempts, on one page; these carry what a failed one brought.
MAX_STEPS: Final = 10_000
MAX_ATTEMPTS: Final = 500
#: Attempts of one step that are shown with it, the latest.
_MAX_OF_STEP: Final = 200

_COLUMNS: Final = """
    step, step_index, parent, undoes, tool, domain, description, depends_on, target,
    status::text, status_reason, waiting_until, attempt, executor, percent, progress_message,
    started_at, completed_at, duration_seconds, cancel_requested_at, error_class, error_message
"""
#: The order of the plan; the items of a step stand at its place, `scan[2]` before `scan[10]`.
_PLACE: Final = "(coalesce(s.step_index, 2147483647), length(s.step), s.step)"
_STEPS: Final = """
SELECT {columns}, coalesce(s.step_index, 2147483647) AS place
FROM execution.execution_steps AS s
WHERE execution_id = %(id)s::uuid AND {visible} AND {conditions}
ORDER BY 23, length(s.step), s.step LIMIT %(rows)s
"""
_TOTAL: Final = """
SELECT count(*) AS number FROM execution.execution_steps AS s
WHERE execution_id = %(id)s::uuid AND {visible} AND {conditions}
"""
_ONE: Final = """
SELECT {columns}, input_data, output_data FROM execution.execution_steps AS s
WHERE execution_id = %(id)s::uuid AND step = %(step)s AND {visible}
"""
_CHILDREN: Final = """
SELECT count(*) AS number FROM execution.execution_steps
WHERE execution_id = %(id)s::uuid AND parent = %(step)s
"""
_ATTEMPT: Final = """
    a.step, a.attempt, a.tool, a.domain, a.target, a.executor, a.status::text, a.dispatched_at,
    a.expires_at, a.started_at, a.completed_at, a.duration_seconds, a.error_class,
    a.error_message, a.transient, a.final, a.output, a.stdout, a.stderr, a.evidence
"""
_ATTEMPTS: Final = """
SELECT {columns}, coalesce(s.step_index, 2147483647) AS place
FROM execution.attempts AS a LEFT JOIN execution.execution_steps AS s USING (execution_id, step)
WHERE a.execution_id = %(id)s::uuid AND {visible} AND {conditions}
ORDER BY 21, length(a.step), a.step, a.attempt LIMIT %(rows)s
"""
_ATTEMPT_PLACE: Final = "(coalesce(s.step_index, 2147483647), length(a.step), a.step, a.attempt)"
_OF_STEP: Final = """
SELECT {columns} FROM execution.attempts AS a
WHERE execution_id = %(id)s::uuid AND step = %(step)s AND {visible}
ORDER BY attempt DESC LIMIT %(rows)s
"""
_STREAMS: Final = """
SELECT attempt, stream, sum(octet_length(text))::bigint AS bytes, min(at) AS first_at,
       max(at) AS last_at
FROM execution.output AS o
WHERE execution_id = %(id)s::uuid AND step = %(step)s AND {visible}
GROUP BY 1, 2 ORDER BY 1, 2 DESC LIMIT %(rows)s
"""


def page(
    connection: Connection[Row],
    reader: Reader,
    ident: str,
    *,
    limit: int,
    after: str | None = None,
    statuses: Sequence[str] = (),
    parent: str | None = None,
) -> StepPage:
    """A page of the steps in the order of the plan; raises CursorError."""
    limit = min(limit, MAX_STEPS)
    visible = reader.sees_one()
    given: dict[str, Any] = {**visible.values, "id": ident, "rows": limit + 1}
    conditions = ["true"]
    if statuses:
        conditions.append("s.status = ANY(%(statuses)s::execution.step_status[])")
        given["statuses"] = list(statuses)
    if parent is not None:
        conditions.append("s.parent = %(parent)s")
        given["parent"] = parent
    filters = " AND ".join(conditions)
    if after is not None:
        place, length, step = cursors.decode("steps", after, int, int, str)
        given |= {"place": place, "length": length, "last": step}
        conditions.append(f"{_PLACE} > (%(place)s, %(length)s, %(last)s)")
    query = _STEPS.format(
        columns=_COLUMNS, visible=visible.sql, conditions=" AND ".join(conditions)
    )
    found = connection.execute(query, given).fetchall()
    shown, following = found[:limit], None
    if len(found) > limit:
        last = shown[-1]
        following = cursors.encode("steps", last["place"], len(last["step"]), last["step"])
    total = len(shown)
    if after is not None or following is not None:
        counted = _TOTAL.format(visible=visible.sql, conditions=filters)
        row = connection.execute(counted, given).fetchone()
        total = 0 if row is None else row["number"]
    return StepPage(steps=[_summary(row) for row in shown], total=total, next=following)


def one(connection: Connection[Row], reader: Reader, ident: str, step: str) -> StepDetail | None:
    """The step; None where there is none that the reader may see."""
    visible = reader.sees_one()
    given = {**visible.values, "id": ident, "step": step, "rows": _MAX_OF_STEP}
    row = connection.execute(_ONE.format(columns=_COLUMNS, visible=visible.sql), given).fetchone()
    if row is None:
        return None
    attempts = _OF_STEP.format(columns=_ATTEMPT, visible=reader.sees_one().sql)
    latest = connection.execute(attempts, given).fetchall()
    streams = _STREAMS.format(visible=reader.sees_one().sql)
    children = connection.execute(_CHILDREN, given).fetchone()
    return StepDetail(
        **_told(row),
        input_data=row["input_data"],
        output_data=row["output_data"],
        attempts=[_attempt(one) for one in reversed(latest)],
        streams=[StepStream(**one) for one in connection.execute(streams, given).fetchall()],
        children=0 if children is None else children["number"],
    )


def attempts(
    connection: Connection[Row],
    reader: Reader,
    ident: str,
    *,
    limit: int,
    after: str | None = None,
) -> AttemptPage:
    """A page of all attempts in the order of the plan; raises CursorError."""
    limit = min(limit, MAX_ATTEMPTS)
    visible = reader.sees_one()
    given: dict[str, Any] = {**visible.values, "id": ident, "rows": limit + 1}
    condition = "true"
    if after is not None:
        place, length, step, number = cursors.decode("attempts", after, int, int, str, int)
        given |= {"place": place, "length": length, "last": step, "number": number}
        condition = f"{_ATTEMPT_PLACE} > (%(place)s, %(length)s, %(last)s, %(number)s)"
    query = _ATTEMPTS.format(columns=_ATTEMPT, visible=visible.sql, conditions=condition)
    found = connection.execute(query, given).fetchall()
    shown, following = found[:limit], None
    if len(found) > limit:
        last = shown[-1]
        following = cursors.encode(
            "attempts", last["place"], len(last["step"]), last["step"], last["attempt"]
        )
    return AttemptPage(attempts=[_attempt(row) for row in shown], next=following)


def _told(row: Row) -> dict[str, Any]:
    told = {name: row[name] for name in StepSummary.model_fields if name in row}
    told["depends_on"] = row["depends_on"] or []
    return told


def _summary(row: Row) -> StepSummary:
    return StepSummary(**_told(row))


def _attempt(row: Row) -> Attempt:
    told = {name: row[name] for name in Attempt.model_fields if name in row}
    told |= {name: _excerpt(row[name]) for name in ("stdout", "stderr")}
    return Attempt(**told)


def _excerpt(told: dict[str, Any] | None) -> StreamExcerpt | None:
    if told is None:
        return None
    return StreamExcerpt(
        bytes=int(told.get("bytes") or 0),
        sha256=told.get("sha256"),
        head=str(told.get("head") or ""),
        tail=str(told.get("tail") or ""),
        lost_bytes=int(told.get("lost_bytes") or 0),
    )
