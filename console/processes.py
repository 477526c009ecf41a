"""`router`, `executor`, `sink`, `projector`, `matcher`, `api`: run one process here."""

from __future__ import annotations

from typing import Annotated

import typer

from console import endpoints
from console.exits import Exit, Failure


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (router, executor, sink, projector, matcher, api):
        app.command()(command)


def router() -> None:
    """Run a router: it admits plans, dispatches steps and keeps the event log."""
    from processors.router import app

    endpoints.adopt_keys("router")
    raise typer.Exit(app.main())


def executor(
    domain: Annotated[
        list[str],
        typer.Option("--domain", metavar="NAME", help="Serve this domain; may be repeated."),
    ],
) -> None:
    """Run an executor agent: it claims steps of its domains and does the work."""
    from streams.topics import DOMAINS

    unknown = sorted(set(domain) - set(DOMAINS))
    if unknown:
        raise Failure(
            f"--domain: there is no domain {unknown[0]}", Exit.USAGE, f"one of {', '.join(DOMAINS)}"
        )
    from processors.executors import app

    endpoints.adopt_keys("executor")
    raise typer.Exit(app.main(list(dict.fromkeys(domain))))


def sink() -> None:
    """Run a sink: it writes events and output to Postgres, exactly once."""
    from sinks import app

    raise typer.Exit(app.main())


def projector() -> None:
    """Run a projector: it folds events into live progress."""
    from processors.progress import app

    raise typer.Exit(app.main())


def matcher() -> None:
    """Run a matcher: it finds the records that start a procedure by a trigger."""
    from processors.triggers import app

    endpoints.adopt_keys("matcher")
    raise typer.Exit(app.main())


def api() -> None:
    """Run the HTTP API, with the console for browsers."""
    from api import process
    from web.pages import ROUTERS

    endpoints.adopt_keys("api")
    raise typer.Exit(process.main(ROUTERS))
