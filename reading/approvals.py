"""Approvals: what waits for a person, with what it would do."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pydantic import ValidationError

from reading import cursors
from reading.calls import Calls, calls_of
from reading.details import approvals as approval_states
from reading.executions import by_ids
from reading.models.approvals import ApprovalPage, ApprovalRequest, EffectCounts, Verdict
from reading.models.executions import ApprovalState, ExecutionSummary
from streams.admitted import decode_plan

if TYPE_CHECKING:
    from collections.abc import Callable

    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Row
    from toolmeta.registry import Registry

#: Each carries the calls of its plan.
MAX_PAGE: Final = 100
MAX_CALLS: Final = 500
MAX_HOSTS: Final = 500
MAX_VERDICTS: Final = 100


class May(NamedTuple):
    """Whether somebody may approve and reject, and why they may not approve."""

    approve: bool
    reject: bool
    why_not: str | None


class Asked(NamedTuple):
    """What somebody is asked to approve."""

    execution: ExecutionSummary
    approval: ApprovalState
    #: Who asked for it, or for what it repeats, besides its actor.
    earlier_actors: tuple[str, ...]


#: Who asked besides the actor stands in the first event.
_COLUMNS: Final = """
w.execution_id::text, w.expires_at, e.plan,
(SELECT jsonb_build_array(v.data -> 'earlier_actors', v.data -> 'claimed_actor')
 FROM execution.execution_events AS v
 WHERE v.execution_id = w.execution_id AND v.seq = 1) AS asked
"""
_PENDING: Final = """
SELECT {columns}
FROM execution.approvals AS w JOIN execution.executions AS e USING (execution_id)
WHERE w.state = 'pending' AND e.status = 'pending_approval' AND {visible} AND {conditions}
ORDER BY w.expires_at NULLS LAST, w.execution_id LIMIT %(rows)s
"""
_AFTER: Final = (
    "(coalesce(w.expires_at, 'infinity'), w.execution_id) "
    "> (%(last_at)s::timestamptz, %(last)s::uuid)"
)
_ONE: Final = """
SELECT {columns}
FROM execution.approvals AS w JOIN execution.executions AS e USING (execution_id)
WHERE w.execution_id = %(id)s::uuid AND {visible}
"""
_VERDICTS: Final = """
SELECT execution_id::text, at, action, allowed, message, data
FROM (SELECT *, row_number() OVER (PARTITION BY execution_id ORDER BY seq) AS number
      FROM execution.audit WHERE execution_id = ANY(%(ids)s::uuid[])) AS told
WHERE number <= %(rows)s ORDER BY execution_id, seq
"""


def pending(
    connection: Connection[Row],
    reader: Reader,
    registry: Registry,
    may: Callable[[Asked], May],
    limit: int,
    after: str | None = None,
) -> ApprovalPage:
    """A page of what waits, what expires first at the beginning; raises CursorError."""
    limit = min(limit, MAX_PAGE)
    visible = reader.condition()
    given: dict[str, Any] = {**visible.values, "rows": limit + 1}
    condition = "true"
    if after is not None:
        at, ident = cursors.decode("approvals", after, str, str)
        moment = "infinity" if at == "never" else cursors.moment(at)
        given |= {"last_at": moment, "last": cursors.ident(ident)}
        condition = _AFTER
    query = _PENDING.format(columns=_COLUMNS, visible=visible.sql, conditions=condition)
    rows = connection.execute(query, given).fetchall()
    shown, following = rows[:limit], None
    if len(rows) > limit:
        last = shown[-1]
        at = "never" if last["expires_at"] is None else last["expires_at"].isoformat()
        following = cursors.encode("approvals", at, last["execution_id"])
    return ApprovalPage(
        approvals=_requests(connection, reader, registry, may, shown), next=following
    )


def one(
    connection: Connection[Row],
    reader: Reader,
    registry: Registry,
    may: Callable[[Asked], May],
    ident: str,
) -> ApprovalRequest | None:
    """What was asked for of one execution; None where the reader may see none."""
    visible = reader.condition()
    query = _ONE.format(columns=_COLUMNS, visible=visible.sql)
    rows = connection.execute(query, {**visible.values, "id": ident}).fetchall()
    found = _requests(connection, reader, registry, may, rows)
    return found[0] if found else None


def _requests(
    connection: Connection[Row],
    reader: Reader,
    registry: Registry,
    may: Callable[[Asked], May],
    rows: Sequence[Row],
) -> list[ApprovalRequest]:
    idents = [row["execution_id"] for row in rows]
    if not idents:
        return []
    executions = by_ids(connection, reader.condition(), idents)
    states = approval_states(connection, idents)
    verdicts = _verdicts(connection, idents)
    found = []
    for row in rows:
        ident = row["execution_id"]
        if ident in executions and ident in states:
            asked = Asked(executions[ident], states[ident], _earlier(row["asked"]))
            calls = _calls(row["plan"], registry)
            found.append(_request(asked, calls, verdicts[ident], may(asked)))
    return found


def _request(asked: Asked, calls: Calls, verdicts: list[Verdict], may: May) -> ApprovalRequest:
    return ApprovalRequest(
        execution=asked.execution,
        approval=asked.approval,
        effects=calls.effects,
        hosts=calls.hosts[:MAX_HOSTS],
        hosts_left_out=max(0, len(calls.hosts) - MAX_HOSTS),
        calls=calls.calls[:MAX_CALLS],
        calls_left_out=max(0, len(calls.calls) - MAX_CALLS),
        verdicts=verdicts,
        may_approve=may.approve,
        may_reject=may.reject,
        why_not=may.why_not,
    )


def _earlier(asked: list[Any] | None) -> tuple[str, ...]:
    earlier, claimed = asked or (None, None)
    listed = earlier if isinstance(earlier, list) else []
    return tuple(str(name) for name in (*listed, claimed) if name is not None)


def _calls(plan: dict[str, Any] | None, registry: Registry) -> Calls:
    """The calls of a stored plan; none of one that another version wrote in another shape."""
    try:
        return calls_of(decode_plan(plan or {}), registry)
    except ValidationError:
        return Calls([], EffectCounts(read=0, modify=0, destroy=0), [])


def _verdicts(connection: Connection[Row], idents: list[str]) -> dict[str, list[Verdict]]:
    given = {"ids": idents, "rows": MAX_VERDICTS}
    found: dict[str, list[Verdict]] = defaultdict(list)
    for row in connection.execute(_VERDICTS, given).fetchall():
        if row["allowed"] is None:
            continue
        data: dict[str, Any] = row["data"]
        found[row["execution_id"]].append(
            Verdict(
                at=row["at"],
                action=row["action"],
                resource=data.get("resource"),
                allowed=row["allowed"],
                rule=data.get("rule"),
                message=row["message"],
            )
        )
    return found
