"""Tables and texts about executions in the database."""

from __future__ import annotations

import json
from typing import Any, Final

from pydantic import TypeAdapter
from rich.table import Table
from rich.text import Text

from console import terminal
from console.streams import described, excerpt
from reading.sentences import sentence
from reading.text import brief, clock, counts, one_line, plain, seconds, timestamp
from sinks.records import stored_event
from streams.reports import StreamSummary

Row = dict[str, Any]
_EXCERPT_LINES = 12
#: The widths from which an execution and a step are shown on one line.
_EXECUTION_FROM: Final = 130
_STEP_FROM: Final = 110
_SUMMARY: Final = TypeAdapter(StreamSummary)


def executions(rows: list[Row]) -> None:
    """One line per execution; on a narrow terminal the id has a line of its own, whole."""
    out = terminal.out()
    if out.width < _EXECUTION_FROM:
        for row in rows:
            head = _status(row["status"]).append(f"  {one_line(row['name'] or '-', 40)}", "bold")
            took = seconds(row["duration_seconds"])
            when = f"  {timestamp(row['created_at'])}  {took}  {_done(row)}"
            out.print(head.append(when, "dim"))
            out.print(Text(f"  {row['execution_id']}", style="dim"))
        return
    table = _table("ID", "STATUS", "NAME", "TENANT", "ACTOR", "STEPS", "CREATED", "TOOK")
    for row in rows:
        table.add_row(
            row["execution_id"], _status(row["status"]), Text(one_line(row["name"] or "-", 40)),
            Text(plain(row["tenant"])), Text(one_line(row["actor"] or "-", 24)), _done(row),
            timestamp(row["created_at"]), seconds(row["duration_seconds"]),
        )  # fmt: skip
    out.print(table)


def _done(row: Row) -> str:
    found = row["step_counts"]
    total = str(row["total_steps"] or "-")
    return f"{found.get('succeeded', 0)}/{total}" if found else total


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
        ("created", timestamp(row["created_at"])),
        ("ended", timestamp(row["completed_at"])),
        ("took", seconds(row["duration_seconds"])),
    ]
    if row["procedure"]:
        facts.append(("procedure", f"{row['procedure']} version {row['procedure_version']}"))
        facts.append(("its digest", row["procedure_digest"] or "-"))
    if row["started_by"]:
        kind, name = row["started_by_kind"], row["started_by"]
        facts.append(("started by", f"{kind} {name}, {row['started_by_cause']}"))
    if row["rerun_of"]:
        facts.append(("rerun of", row["rerun_of"]))
    if (row["run"] or 1) > 1:
        facts.append(("run of its key", f"number {row['run']}"))
    if row["compensation_counts"]:
        facts.append(("undoing", counts(row["compensation_counts"])))
    if row["conflicts_with"]:
        facts.append(("conflicts with", row["conflicts_with"]))
    approval = row["approval"]
    if approval is not None:
        by = f" by {approval['decided_by']}" if approval["decided_by"] else ""
        until = f", until {timestamp(approval['expires_at'])}" if not by else ""
        facts.append(("approval", f"{approval['state']}{by}{until}"))
    return [(name, value) for name, value in facts if value and value != "-"]


def _steps(rows: list[Row]) -> Table:
    columns = ["STEP", "TOOL", "STATUS", "ATTEMPT", "TOOK", "WHERE", "WHY OR WHAT"]
    wide = terminal.out().width >= _STEP_FROM
    table = _table(*columns) if wide else _table("STEP", "STATUS", "TOOK", "WHY OR WHAT")
    for row in rows:
        why = row["error_message"] or row["status_reason"] or row["progress_message"]
        if row["waiting_until"] is not None and row["status"] == "waiting":
            why = f"{why or 'waits'} (until {timestamp(row['waiting_until'])})"
        place = row["target"] or row["executor"] or "-"
        step, status = Text(plain(row["step"]), style="bold"), _status(row["status"])
        took = seconds(row["duration_seconds"])
        told = Text(one_line(why or brief(row["output_data"]), 100))
        if not wide:
            table.add_row(step, status, took, told)
            continue
        table.add_row(
            step, Text(plain(row["tool"] or "-")), status, str(row["attempt"]), took,
            Text(one_line(place, 32)), told,
        )  # fmt: skip
    return table


def _details(step: Row, attempt: Row | None) -> None:
    """Why a step failed, its output, and the excerpts of its last attempt's streams."""
    out = terminal.out()
    output, error = step["output_data"], step["error_message"]
    if output is None and attempt is not None:
        # A failed attempt may have an output too.
        output = attempt["output"]
    written = [(name, _summary(attempt, name)) for name in ("stdout", "stderr")]
    found = [(name, summary) for name, summary in written if summary is not None and summary.bytes]
    if output is None and not found and not error:
        return
    out.print()
    head = Text().append(plain(step["step"]), "bold")
    out.print(head.append(f" {step['status'].replace('_', ' ')}", terminal.style(step["status"])))
    if error:
        kind = f" [{step['error_class']}]" if step["error_class"] else ""
        out.print(Text(f"  {plain(error)}{kind}", style="red"), soft_wrap=True)
    if output is not None:
        out.print(Text("  output", style="dim"))
        text = output if isinstance(output, str) else json.dumps(output, indent=2, default=str)
        _excerpt(text)
    for name, summary in found:
        out.print(
            Text(f"  {described(name, summary)}", style="yellow" if summary.lost_bytes else "dim")
        )
        _excerpt(excerpt(summary))


def _summary(attempt: Row | None, name: str) -> StreamSummary | None:
    if attempt is None or attempt[name] is None:
        return None
    found: StreamSummary = _SUMMARY.validate_python(attempt[name])
    return found


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
            Text(plain(row["executor"] or "-")), timestamp(row["started_at"]),
            seconds(row["duration_seconds"]), Text(one_line(row["error_message"] or "-") + kind),
        )  # fmt: skip
    terminal.out().print()
    terminal.out().print(table)


def events(rows: list[Row]) -> None:
    """Every event in one line each."""
    if rows:
        terminal.out().print()
    for row in rows:
        event = stored_event(
            row["execution_id"], row["seq"], row["type"], row["at"], row["tenant"], row["step"],
            row["attempt"], row["data"],
        )  # fmt: skip
        text = Text().append(f"{event.seq:>4}  {clock(event.unix())}  ", "dim")
        terminal.out().print(text.append(sentence(event)), soft_wrap=True)


def _table(*columns: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column in ("ID", "STATUS", "CREATED"))
    return table


def _status(status: str) -> Text:
    # The style is for this text only, not for what is appended.
    return Text().append(status.replace("_", " "), terminal.style(status))
