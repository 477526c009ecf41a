"""The list of executions as its template shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from reading.models.executions import ExecutionCounts, ExecutionPage, ExecutionSummary
from streams.lifecycle import ENDED
from web.statuses import EXECUTION, Look, execution_look
from web.views.filters import ListFilters
from web.wording import NOTHING, number

#: What a chip of the filter bar stands for, in the order in which they matter to people.
_CHIP_ORDER: Final = tuple(EXECUTION)


@dataclass(frozen=True, slots=True)
class Row:
    """One execution of the list."""

    id: str
    href: str
    status: str
    look: Look
    name: str
    #: Why it stands where it stands, where a reader would ask.
    why: str | None
    #: Null where it has ended, or has not begun.
    percent: float | None
    #: Such as `4/5`, of an execution that has ended.
    steps: str | None
    who: str
    started_by: str | None
    at: datetime
    seconds: float | None
    #: From when on it goes on counting; null where it stands still.
    since: datetime | None
    late: bool
    environment: str | None


@dataclass(frozen=True, slots=True)
class Chip:
    """One status with how many executions have it."""

    text: str
    href: str
    current: bool
    count: int | None
    look: Look | None


@dataclass(frozen=True, slots=True)
class ExecutionList:
    """The page of the executions."""

    filters: ListFilters
    chips: list[Chip]
    rows: list[Row]
    #: Such as `50 of 12 345`.
    shown: str
    first: str | None
    older: str | None
    #: New ones are put in front.
    live: bool


def execution_list(
    page: ExecutionPage,
    counts: ExecutionCounts,
    filters: ListFilters,
    now: datetime,
    after: str | None = None,
) -> ExecutionList:
    """The page of these executions."""
    total = counts.counts.get(filters.status, 0) if filters.status else counts.total  # type: ignore[call-overload]
    if filters.late:
        total = counts.late
    more = "" if counts.complete else "more than "
    return ExecutionList(
        filters=filters,
        chips=_chips(counts, filters),
        rows=[row(summary, now) for summary in page.executions],
        shown=f"{number(len(page.executions))} of {more}{number(total)}",
        first=f"/executions{filters.query()}" if after else None,
        older=f"/executions{filters.query(page.next)}" if page.next else None,
        live=filters.live and after is None,
    )


def row(summary: ExecutionSummary, now: datetime) -> Row:
    """One execution as a row."""
    status = summary.status or "unknown"
    ended = status in ENDED
    running = summary.started_at is not None and not ended
    return Row(
        id=summary.execution_id,
        href=f"/executions/{summary.execution_id}",
        status=status,
        look=execution_look(status),
        name=summary.name or summary.procedure or "Plan without a name",
        why=_why(summary),
        percent=summary.percent if running else None,
        steps=_steps(summary) if ended else None,
        who=summary.actor or NOTHING,
        started_by=summary.started_by,
        at=summary.created_at,
        seconds=_seconds(summary, now),
        since=summary.started_at if running else None,
        late=summary.late,
        environment=summary.environment,
    )


def _why(summary: ExecutionSummary) -> str | None:
    if summary.status in ("running", "completed"):
        return None
    return summary.error_message or summary.status_reason


def _steps(summary: ExecutionSummary) -> str | None:
    if not summary.step_counts or summary.total_steps is None:
        return None
    good = summary.step_counts.get("succeeded", 0)
    return f"{number(good)}/{number(sum(summary.step_counts.values()))}"


def _seconds(summary: ExecutionSummary, now: datetime) -> float | None:
    if summary.duration_seconds is not None or summary.started_at is None:
        return summary.duration_seconds
    return ((summary.completed_at or now) - summary.started_at).total_seconds()


def _chips(counts: ExecutionCounts, filters: ListFilters) -> list[Chip]:
    every = not filters.status and not filters.late
    chips = [Chip("All", filters.with_status(""), every, counts.total, None)]
    by_status: dict[str, int] = {str(key): value for key, value in counts.counts.items()}
    for status in _CHIP_ORDER:
        count = by_status.get(status, 0)
        current = filters.status == status
        if count or current:
            look = execution_look(status)
            chips.append(Chip(look.word, filters.with_status(status), current, count, look))
    if counts.late or filters.late:
        late = Look("fail", "timeout", "Late")
        href = filters.with_status("", late=True)
        chips.append(Chip("Late", href, filters.late, counts.late, late))
    return chips
