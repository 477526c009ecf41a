"""One execution: its header with why it waits, its approval, and its plan."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from reading.executions import COLUMNS, fields
from reading.models.executions import (
    ApprovalState,
    Decision,
    ExecutionDetail,
    PlanView,
    Wait,
)
from reading.step_counts import counted

if TYPE_CHECKING:
    from psycopg import Connection

    from reading.reader import Reader
    from reading.rows import Row

_MAX_RERUNS: Final = 100
_MAX_WAITS: Final = 50

_ONE: Final = """
SELECT {columns}, execution_mode::text, idempotency_key, run, plan_hash, procedure_digest,
       started_by_cause, rerun_of, conflicts_with, queued_at, cancel_requested_at,
       timeout_seconds, compensation_counts, updated_at, last_seq
FROM execution.executions AS e WHERE execution_id = %(id)s::uuid AND {visible}
"""
_PLAN: Final = """
SELECT execution_id::text, name, plan_hash, environment, procedure, procedure_version,
       procedure_digest, plan
FROM execution.executions AS e WHERE execution_id = %(id)s::uuid AND {visible}
"""
_RERUNS: Final = """
SELECT execution_id::text FROM execution.executions AS e
WHERE rerun_of = %(id)s AND {visible} ORDER BY created_at LIMIT %(rows)s
"""
_WAITS: Final = """
SELECT step, status::text, status_reason, updated_at, waiting_until
FROM execution.execution_steps
WHERE execution_id = %(id)s::uuid AND status IN ('waiting', 'needs_attention', 'lost')
ORDER BY updated_at, step LIMIT %(rows)s
"""
_STEPS: Final = """
SELECT count(*) AS number FROM execution.execution_steps WHERE execution_id = %(id)s::uuid
"""
_APPROVALS: Final = """
SELECT execution_id::text, state::text, approval_level, plan_hash, requested_by, requested_at,
       expires_at, decided_by, decided_at, reason
FROM execution.approvals WHERE execution_id = ANY(%(ids)s::uuid[])
"""
#: More than four people approve nothing, but a record can say anything.
_DECISIONS: Final = """
SELECT execution_id::text, event_type, at, data FROM execution.execution_events
WHERE execution_id = ANY(%(ids)s::uuid[]) AND event_type IN
      ('execution.approval_given', 'execution.approved', 'execution.rejected')
ORDER BY execution_id, seq LIMIT %(rows)s
"""
#: Statuses in which the execution as a whole waits.
_WAITING: Final = frozenset({"pending_approval", "queued", "paused", "needs_attention"})


def detail(connection: Connection[Row], reader: Reader, ident: str) -> ExecutionDetail | None:
    """The execution; None where there is none that the reader may see."""
    visible = reader.condition()
    given = {**visible.values, "id": ident}
    query = _ONE.format(columns=COLUMNS, visible=visible.sql)
    row = connection.execute(query, given).fetchone()
    if row is None:
        return None
    live = row["completed_at"] is None
    reruns = _RERUNS.format(visible=visible.sql)
    again = connection.execute(reruns, {**given, "rows": _MAX_RERUNS}).fetchall()
    known = connection.execute(_STEPS, given).fetchone()
    approval = approvals(connection, [ident]).get(ident)
    told = {name: row[name] for name in ExecutionDetail.model_fields if name in row}
    told |= fields(row, counted(connection, [ident]).get(ident) if live else None)
    return ExecutionDetail(
        **told,
        reruns=[one["execution_id"] for one in again],
        sla_deadline=_later(row["created_at"], row["sla_seconds"]),
        times_out_at=_later(row["started_at"], row["timeout_seconds"]),
        approval=approval,
        waits=_waits(connection, row, approval) if live else [],
        steps_known=0 if known is None else known["number"],
    )


def plan(connection: Connection[Row], reader: Reader, ident: str) -> PlanView | None:
    """The plan of the execution; None where there is none that the reader may see."""
    visible = reader.condition()
    query = _PLAN.format(visible=visible.sql)
    row = connection.execute(query, {**visible.values, "id": ident}).fetchone()
    return None if row is None else PlanView(**row)


def approvals(connection: Connection[Row], idents: Sequence[str]) -> dict[str, ApprovalState]:
    """How the approvals of these executions stand, by id; absent where none was asked for."""
    rows = connection.execute(_APPROVALS, {"ids": list(idents)}).fetchall()
    asked = [row["execution_id"] for row in rows]
    given = {"ids": asked, "rows": 20 * len(asked)}
    decisions: dict[str, list[Decision]] = defaultdict(list)
    for row in connection.execute(_DECISIONS, given).fetchall() if asked else ():
        decision = _decision(row)
        if decision is not None:
            decisions[row["execution_id"]].append(decision)
    return {row["execution_id"]: _approval(row, decisions[row["execution_id"]]) for row in rows}


def _approval(row: Row, decisions: list[Decision]) -> ApprovalState:
    return ApprovalState(
        state=row["state"],
        level=row["approval_level"],
        given=sum(1 for decision in decisions if decision.approved),
        plan_hash=row["plan_hash"],
        requested_by=row["requested_by"],
        requested_at=row["requested_at"],
        expires_at=row["expires_at"],
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        reason=row["reason"],
        decisions=decisions,
    )


def _decision(row: Row) -> Decision | None:
    data: dict[str, Any] = row["data"]
    approved = row["event_type"] != "execution.rejected"
    if not approved and data.get("reason") != "not_approved":
        return None
    reason = data.get("reason") if approved else data.get("message")
    return Decision(
        at=row["at"],
        actor=str(data.get("actor") or "anonymous"),
        approved=approved,
        reason=None if reason is None else str(reason),
    )


def _waits(connection: Connection[Row], row: Row, approval: ApprovalState | None) -> list[Wait]:
    found = []
    if row["status"] in _WAITING:
        asked = approval if row["status"] == "pending_approval" else None
        found.append(
            Wait(
                step=None,
                status=row["status"],
                reason=row["status_reason"],
                since=row["updated_at"] if asked is None else asked.requested_at,
                until=None if asked is None else asked.expires_at,
            )
        )
    given = {"id": row["execution_id"], "rows": _MAX_WAITS}
    for step in connection.execute(_WAITS, given).fetchall():
        found.append(
            Wait(
                step=step["step"],
                status=step["status"],
                reason=step["status_reason"],
                since=step["updated_at"],
                until=step["waiting_until"],
            )
        )
    return found[:_MAX_WAITS]


def _later(moment: datetime | None, seconds: float | None) -> datetime | None:
    if moment is None or seconds is None:
        return None
    try:
        return moment + timedelta(seconds=seconds)
    except OverflowError:
        return None
