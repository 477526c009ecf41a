"""Schedules as tables and documents."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from console import terminal
from reading.schedules import next_moments, problem, status, timing_of, utc, when
from reading.text import one_line, plain
from streams.timestamps import iso

if TYPE_CHECKING:
    from collections.abc import Sequence

    from processors.schedules.state import Outcome, ScheduleState


def document(state: ScheduleState, moments: int) -> dict[str, Any]:
    """One schedule as JSON."""
    schedule = state.schedule
    wrong = problem(state)
    return {
        "name": state.name,
        "tenant": state.tenant,
        "status": status(state),
        "problem": wrong,
        "schedule": None
        if schedule is None
        else schedule.model_dump(mode="json", exclude_unset=True),
        "applied_by": state.actor,
        "signed": state.kid is not None,
        "applied_at": iso(state.applied),
        "paused": state.paused,
        "pause_reason": state.pause_reason,
        "next": [iso(moment) for moment in next_moments(state, moments)],
        "running": [
            {
                "execution_id": one.execution_id,
                "moment": iso(one.moment),
                "kind": one.kind,
                "started_at": iso(one.started),
            }
            for one in state.running
        ],
        "queued": [{"moment": iso(one.moment), "kind": one.kind} for one in state.waiting],
        "backfills": [
            {"begin": iso(one.begin), "end": iso(one.end), "done": iso(one.done)}
            for one in state.backfills
        ],
        "history": [_outcome(one) for one in reversed(state.history)],
    }


def table(found: Sequence[ScheduleState]) -> None:
    """The schedules of a list."""
    from rich.table import Table
    from rich.text import Text

    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in ("NAME", "PROCEDURE", "WHEN", "NEXT RUN (UTC)", "STATUS", "LAST OUTCOME"):
        made.add_column(column, overflow="fold")
    for state in found:
        schedule = state.schedule
        if schedule is None:
            continue
        coming = next_moments(state, 1)
        last = state.history[-1] if state.history else None
        cells = (
            state.name,
            schedule.procedure,
            when(schedule),
            utc(coming[0]) if coming else "-",
            status(state),
            "-" if last is None else f"{last.outcome} {utc(last.moment)}",
        )
        made.add_row(*(Text(plain(cell)) for cell in cells))
    terminal.out().print(made)


def show(state: ScheduleState, moments: int) -> None:
    """One schedule for people."""
    from rich.text import Text

    schedule = state.schedule
    if schedule is None:
        return
    out = terminal.out()
    out.print(Text(plain(f"{state.name}  {status(state)}"), style="bold"))
    who = state.actor if state.kid is not None else f"{state.actor} (not signed)"
    lines = [
        f"runs {schedule.procedure}"
        + (f" version {schedule.version}" if schedule.version is not None else "")
        + f", {when(schedule)}",
        f"applied by {who} at {utc(state.applied)} UTC",
    ]
    if schedule.description:
        lines.insert(0, one_line(schedule.description, 500))
    if state.paused:
        lines.append("paused" + (f": {state.pause_reason}" if state.pause_reason else ""))
    wrong = problem(state)
    if wrong is not None:
        lines.append(f"it cannot run here: {wrong}")
    for line in lines:
        out.print(Text(plain(f"  {line}"), style="dim"))
    timing = timing_of(state)
    if timing is not None:
        _rows(
            (f"NEXT ({schedule.timezone})", "UTC"),
            [(_local(one, timing.zone), utc(one)) for one in next_moments(state, moments)],
        )
    _rows(
        ("RUNNING", "SINCE (UTC)", "EXECUTION"),
        [(utc(one.moment), utc(one.started), one.execution_id) for one in state.running],
    )
    _rows(("QUEUED", "KIND"), [(utc(one.moment), one.kind) for one in state.waiting])
    _rows(
        ("BACKFILL FROM", "TO", "DONE UP TO"),
        [(utc(one.begin), utc(one.end), utc(one.done)) for one in state.backfills],
    )
    _rows(
        ("MOMENT (UTC)", "OUTCOME", "EXECUTION", "WHY"),
        [
            (
                utc(one.moment) + ("" if one.until is None else f" to {utc(one.until)}"),
                one.outcome,
                one.execution_id or "-",
                one_line(one.message or "", 200),
            )
            for one in reversed(state.history)
        ],
    )


def _rows(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    from rich.table import Table
    from rich.text import Text

    if not rows:
        return
    made = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in columns:
        made.add_column(column, overflow="fold")
    for row in rows:
        made.add_row(*(Text(plain(cell)) for cell in row))
    terminal.out().print(made)


def _outcome(one: Outcome) -> dict[str, Any]:
    return {
        "moment": iso(one.moment),
        "until": None if one.until is None else iso(one.until),
        "kind": one.kind,
        "outcome": one.outcome,
        "at": iso(one.at),
        "execution_id": one.execution_id,
        "message": one.message,
    }


def _local(moment: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(moment, zone).strftime("%a %Y-%m-%d %H:%M:%S %z")
