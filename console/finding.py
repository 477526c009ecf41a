"""`runstream list` and `runstream stats`: find executions, and figures about many of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from console import endpoints, options, terminal
from console.exits import Exit, Failure
from console.options import Json

if TYPE_CHECKING:
    from reading.models.statistics import By

STATUSES = (
    "pending_approval", "approved", "queued", "running", "paused", "needs_attention",
    "completed", "partial", "failed", "cancelled", "timeout", "rejected",
)  # fmt: skip
#: What a line of the list tells.
_LISTED = (
    "execution_id", "tenant", "name", "actor", "environment", "status", "status_reason",
    "procedure", "started_by_kind", "started_by", "total_steps", "step_counts", "created_at",
    "completed_at", "duration_seconds", "error_message", "late",
)  # fmt: skip

_Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Only this tenant's.")
]
_Since = Annotated[
    str | None,
    typer.Option("--since", metavar="WHEN", help="Not older: 90m, 24h, 7d, 2026-11-20 (UTC)."),
]
_Until = Annotated[
    str | None, typer.Option("--until", metavar="WHEN", help="Older than this; as --since.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command("list")(list_)
    app.command()(stats)


def list_(
    tenant: _Tenant = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help=f"One of {', '.join(STATUSES)}."),
    ] = None,
    actor: Annotated[
        str | None, typer.Option("--actor", metavar="NAME", help="Only what this one asked for.")
    ] = None,
    procedure: Annotated[
        str | None, typer.Option("--procedure", metavar="NAME", help="Only runs of this one.")
    ] = None,
    started_by: Annotated[
        str | None,
        typer.Option(
            "--started-by", metavar="NAME", help="Only what this schedule or trigger started."
        ),
    ] = None,
    environment: Annotated[
        str | None, typer.Option("--environment", metavar="dev|staging|prod")
    ] = None,
    asset: Annotated[
        str | None,
        typer.Option("--asset", metavar="NAME", help="Only what had a step for this target."),
    ] = None,
    text: Annotated[
        str | None,
        typer.Option("--text", metavar="WORDS", help="Words of its name, reason or error."),
    ] = None,
    since: _Since = None,
    until: _Until = None,
    late: Annotated[
        bool, typer.Option("--late", help="Only what took longer than its class promises.")
    ] = False,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1_000, help="At most this many.")
    ] = 20,
    after: Annotated[
        str | None,
        typer.Option("--after", metavar="ID", help="The next page: what is older than this one."),
    ] = None,
    as_json: Json = False,
) -> None:
    """List executions, newest first."""
    from console import database, report
    from console.history import rendered
    from console.moments import moment
    from reading.executions import Wanted, rows
    from runtime.settings import DatabaseSettings

    if status is not None and status not in STATUSES:
        raise Failure(
            f"--status: {status!r} is no status", Exit.USAGE, f"one of {', '.join(STATUSES)}"
        )
    now = datetime.now(UTC)
    statuses = None if status is None else (status,)
    wanted = Wanted(
        tenant, statuses, actor, procedure, started_by, environment, asset, text,
        moment("--since", since, now), moment("--until", until, now), late,
    )  # fmt: skip
    last = None if after is None else options.execution_id(after)
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        if last is not None and database.execution(connection, last) is None:
            raise Failure(f"--after: {last} is not in the database", Exit.USAGE, "runstream list")
        found = [
            {name: row[name] for name in _LISTED} for row in rows(connection, wanted, limit, last)
        ]
    if as_json:
        terminal.data([rendered(row) for row in found])
    elif found:
        report.executions(found)
        if len(found) == limit:
            terminal.say(f"more: --after {found[-1]['execution_id']}", "dim")
    elif wanted == Wanted():
        terminal.say("no executions; start one with runstream run PLAN", "dim")
    else:
        terminal.say("no executions match", "dim")


def stats(
    by: Annotated[
        Literal["tool", "procedure"], typer.Option("--by", help="What each line is about.")
    ] = "tool",
    tenant: _Tenant = None,
    since: _Since = None,
    until: _Until = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1_000, help="At most so many lines.")
    ] = 30,
    as_json: Json = False,
) -> None:
    """Figures of what has ended: success, durations, queue times, SLA; of the last day by default.

    By tool each attempt counts; by procedure each execution, plans without one by their name.
    """
    from console import database
    from console.moments import moment
    from reading.figures import figures, of_tenant
    from runtime.settings import DatabaseSettings

    now = datetime.now(UTC)
    begin = moment("--since", since, now) or now - timedelta(days=1)
    end = moment("--until", until, now) or now
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        condition = of_tenant(tenant, "a" if by == "tool" else "e")
        rows = figures(connection, by, begin, end, condition, limit)
    if as_json:
        terminal.data(
            {"by": by, "since": begin.isoformat(), "until": end.isoformat(), "figures": rows}
        )
    elif rows:
        _print(by, rows)
    else:
        terminal.say(f"nothing ended since {begin:%Y-%m-%d %H:%M} UTC", "dim")


def _print(by: By, rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    from reading.text import one_line, seconds

    table = Table(box=None, padding=(0, 2, 0, 0), header_style="bold dim")
    names = ["COUNT", "SUCCESS", "AVG", "MIN", "MAX", "P50", "P95", "P99", "QUEUE"]
    table.add_column(by.upper(), overflow="fold")
    for name in [*names, *(["IN TIME"] if by == "procedure" else [])]:
        table.add_column(name, justify="right")
    for row in rows:
        times = [seconds(row[f"{name}_seconds"]) for name in ("avg", "min", "max", "p50", "p95",
                                                              "p99", "avg_queue")]  # fmt: skip
        cells = [str(row["count"]), f"{row['success_rate']:.1%}", *times]
        if by == "procedure":
            cells.append(f"{row['sla_compliance']:.1%}")
        table.add_row(one_line(row["name"] or "-", 40), *cells)
    terminal.out().print(table)
