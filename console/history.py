"""`runstream show`: what Postgres keeps of one execution."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from console import endpoints, options, terminal
from console.exits import Exit, Failure
from console.options import ExecutionId, Json


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(show)


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
        terminal.data(rendered({**found, "events": history} if events else found))
    else:
        report.execution(found)
        report.events(history)


def rendered(value: Any) -> Any:
    """Rows as JSON has them: timestamps as RFC 3339 text, everything else as it is."""
    if isinstance(value, dict):
        return {key: rendered(item) for key, item in value.items()}
    if isinstance(value, list):
        return [rendered(item) for item in value]
    return value.isoformat() if isinstance(value, datetime) else value
