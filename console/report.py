"""Tables and texts about executions in the database."""

from __future__ import annotations

import json
from typing import Any

from rich.table import Table
from rich.text import Text

from console import terminal
from console.lines import sentence
from console.text import brief, clock, moment, one_line, plain, seconds, size
from streams.events import Event

Row = dict[str, Any]
_EXCERPT_LINES = 12


def executions(rows: list[Row]) -> None:
    """One line per execution."""
    table = _table("ID", "STATUS", "NAME", "TENANT", "ACTOR", "STEPS", "CREATED", "TOOK")
    for row in rows:
        counts = row["step_counts"] or {}
        done = f"{counts.get('succeeded', 0)}/{row['total_steps']}" if counts else ""
        table.add_row(
            row["execution_id"], _status(row["status"]), Text(one_line(row["name"] or "-", 40)),
            Text(plain(row["tenant"])), Text(one_line(row["actor"] or "-", 24)),
            done or str(row["total_steps"] or "-"), moment(row["created_at"]),
            seconds(row["duration_seconds"]),
        )  # fmt: skip
    terminal.out().print(table)


def execution(row: Row) -> None:
    """One execution in full."""
    out = terminal.out()
    head = _status(row["status"]).append(f"  {plain(row['name'] or 'plan')}", style="bold")
    out.print(head.append(f"  {row['execution_id']}", style="dim"))
    why = row["error_message"] or row["status_reason"]
    if why:
        out.print(Text(f"  {one_line(why, 500)}", style=terminal.style(row["status"])))
    facts = Table.grid(padding=(0, 2))
    for name, value in _facts(row):
        facts.add_row(Text(f"  {name}", style="dim"), Text(plain(value)))
    out.print(facts)
    if row["steps"]:
        out.print()
        out.print(_steps(row["steps"]))
    latest = {attempt["step"]: attempt for attempt in row["attempts"]}
    for step in row["steps"]:
        _details(step, latest.get(step["step"]))
    _earlier(row["attempts"], latest)


def _facts(row: Row) -> list[tuple[str, str]]:
    kind = [row["sla_class"], row["execution_mode"], row["action_class"]]
    facts = [
        ("tenant, actor", f"{row['tenant']}, {row['actor'] or '-'}"),
        ("environment", row["environment"] or "-"),
        ("class", ", ".join(str(part) for part in kind if part)),
        ("idempotency key", row["idempotency_key"] or "-"),
        ("created", moment(row["created_at"])),
        ("ended", moment(row["completed_at"])),
        ("took", seconds(row["duration_seconds"])),
    ]
    if row["rerun_of"]:
        facts.append(("rerun of", row["rerun_of"]))
    if row["conflicts_with"]:
        facts.append(("conflicts with", row["conflicts_with"]))
    approval = row["approval"]
    if approval is not None:
        by = f" by {approval['decided_by']}" if approval["decided_by"] else ""
        until = f", until {moment(approval['expires_at'])}" if not by else ""
        facts.append(("approval", f"{approval['state']}{by}{until}"))
    return [(name, value) for name, value in facts if value and value != "-"]


def _steps(rows: list[Row]) -> Table:
    table = _table("STEP", "TOOL", "STATUS", "ATTEMPT", "TOOK", "WHERE", "WHY OR WHAT")
    for row in rows:
        why = row["error_message"] or row["status_reason"] or row["progress_message"]
        if row["waiting_until"] is not None and row["status"] == "waiting":
            why = f"{why or 'waits'} (until {moment(row['waiting_until'])})"
        place = row["target"] or row["executor"] or "-"
        table.add_row(
            Text(plain(row["step"]), style="bold"), Text(plain(row["tool"] or "-")),
            _status(row["status"]), str(row["attempt"]), seconds(row["duration_seconds"]),
            Text(one_line(place, 32)), Text(one_line(why or brief(row["output_data"]), 100)),
        )  # fmt: skip
    return table


def _details(step: Row, attempt: Row | None) -> None:
    """The output of a step, and what is left of what its last attempt wrote."""
    out = terminal.out()
    output = step["output_data"]
    streams = {
        name: attempt[name] for name in ("stdout", "stderr") if attempt and attempt.get(name)
    }
    written = {name: summary for name, summary in streams.items() if summary.get("bytes")}
    if output is None and not written:
        return
    out.print()
    out.print(Text().append(plain(step["step"]), "bold").append(" output", "dim"))
    if output is not None:
        text = output if isinstance(output, str) else json.dumps(output, indent=2, default=str)
        _excerpt(text)
    for name, summary in written.items():
        out.print(Text(f"  {name}, {size(int(summary['bytes']))}", style="dim"))
        tail = summary.get("tail") or ""
        _excerpt(f"{summary.get('head', '')}\n…\n{tail}" if tail else str(summary.get("head", "")))


def _excerpt(text: str) -> None:
    lines = plain(text).rstrip().splitlines()
    left = len(lines) - _EXCERPT_LINES
    if left > 1:
        half = _EXCERPT_LINES // 2
        lines = [*lines[:half], f"… {left} more lines (--json has all) …", *lines[-half:]]
    for line in lines:
        terminal.out().print(Text(f"    {line}"), soft_wrap=True)


def _earlier(attempts: list[Row], latest: dict[str, Row]) -> None:
    earlier = [row for row in attempts if row is not latest[row["step"]]]
    if not earlier:
        return
    table = _table("EARLIER ATTEMPT", "STATUS", "EXECUTOR", "STARTED", "TOOK", "WHY")
    for row in earlier:
        kind = f" [{row['error_class']}]" if row["error_class"] else ""
        table.add_row(
            Text(f"{plain(row['step'])} #{row['attempt']}"), _status(row["status"]),
            Text(plain(row["executor"] or "-")), moment(row["started_at"]),
            seconds(row["duration_seconds"]), Text(one_line(row["error_message"] or "-") + kind),
        )  # fmt: skip
    terminal.out().print()
    terminal.out().print(table)


def events(rows: list[Row]) -> None:
    """Every event in one line each."""
    if rows:
        terminal.out().print()
    for row in rows:
        event = Event.model_validate(row)
        text = Text().append(f"{event.seq:>4}  {clock(event.at)}  ", "dim")
        terminal.out().print(text.append(sentence(event)), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("ID", "STATUS", "CREATED"))
    return table


def _status(status: str) -> Text:
    # The style belongs to these words only, not to what is appended to them.
    return Text().append(status.replace("_", " "), terminal.style(status))
