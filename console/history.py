"""`runstream show` and `runstream list`: what Postgres keeps of executions."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from console import endpoints, options, terminal
from console.exits import Exit, Failure
from console.options import ExecutionId, Json

STATUSES = (
    "pending_approval", "approved", "queued", "running", "paused", "needs_attention",
    "completed", "partial", "failed", "cancelled", "timeout", "rejected",
)  # fmt: skip


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(show)
    app.command("list")(list_)


def show(
    execution_id: ExecutionId,
    events: Annotated[bool, typer.Option("--events", help="Also every event, in order.")] = False,
    as_json: Json = False,
) -> None:
    """Show one execution: steps, attempts, why it waits, and the outputs of its steps."""
    from console import database, report
    from runtime.settings import DatabaseSettings

    ident = options.execution_id(execution_id)
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        found = database.execution(connection, ident)
        history = database.events(connection, ident) if events and found is not None else []
    if found is None:
        raise Failure(
            f"execution {ident} is not in the database",
            Exit.FAILED,
            f"it may be on its way (is a sink running?); live: runstream watch {ident}",
        )
    if as_json:
        terminal.data(_plain({**found, "events": history} if events else found))
    else:
        report.execution(found)
        report.events(history)


def list_(
    tenant: Annotated[
        str | None, typer.Option("--tenant", metavar="NAME", help="Only this tenant's.")
    ] = None,
    status: Annotated[
        str | None,
        typer.Option("--status", metavar="STATUS", help=f"One of {', '.join(STATUSES)}."),
    ] = None,
    limit: Annotated[
        int, typer.Option("--limit", "-n", min=1, max=1_000, help="At most this many.")
    ] = 20,
    as_json: Json = False,
) -> None:
    """List executions, newest first."""
    from console import database, report
    from runtime.settings import DatabaseSettings

    if status is not None and status not in STATUSES:
        raise Failure(
            f"--status: {status!r} is no status", Exit.USAGE, f"one of {', '.join(STATUSES)}"
        )
    with database.reading(endpoints.load(DatabaseSettings)) as connection:
        rows = database.executions(connection, tenant, status, limit)
    if as_json:
        terminal.data([_plain(row) for row in rows])
    elif rows:
        report.executions(rows)
    else:
        terminal.say("no executions; start one with runstream run PLAN", "dim")


def _plain(value: Any) -> Any:
    """Rows as JSON has them: timestamps as RFC 3339 text, everything else as it is."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
