"""`runstream watch`: the events of an execution, from its first one."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Annotated

import typer

from console import options, terminal
from console.exits import Exit
from console.options import ExecutionId, Json, JsonLines, Quiet, Timeout

if TYPE_CHECKING:
    from console.eventlog import EventLog
    from runtime.settings import CommonSettings
    from streams.events import Event


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(watch)


def watch(
    execution_id: ExecutionId,
    follow: Annotated[
        bool, typer.Option("--follow", help="Go on after the end, for late reports.")
    ] = False,
    timeout: Timeout = 86_400.0,
    as_json: Json = False,
    jsonl: JsonLines = False,
    quiet: Quiet = False,
) -> None:
    """Watch an execution from its first event to its end; the exit code is its outcome."""
    from console import endpoints
    from runtime.settings import CommonSettings

    ident = options.execution_id(execution_id)
    code = watch_execution(
        endpoints.load(CommonSettings),
        ident,
        timeout=timeout,
        as_json=as_json,
        jsonl=jsonl,
        quiet=quiet or as_json,
        linger=follow,
    )
    raise typer.Exit(code)


def watch_execution(
    settings: CommonSettings,
    ident: str,
    *,
    timeout: float,
    as_json: bool,
    jsonl: bool,
    quiet: bool,
    log: EventLog | None = None,
    first: Event | None = None,
    linger: bool = False,
) -> Exit:
    """Show one execution until it ends, then its outcome; `log` continues an open reading."""
    from console import outcome
    from console.display import Display
    from console.eventlog import EventLog
    from console.follow import detachable, follow
    from console.view import ExecutionView
    from streams.ids import route_of
    from streams.payloads import Rejected

    view = ExecutionView(ident)
    display = Display(view, jsonl=jsonl, quiet=quiet)
    with ExitStack() as stack, detachable(ident):
        unknown = log is None
        if log is None:
            since = options.started_ms(ident)
            log = stack.enter_context(EventLog(settings, route_of(ident), since_ms=since))
        code = follow(
            log, view, display, timeout=timeout, first=first, unknown=unknown, linger=linger
        )
    if as_json:
        terminal.data(outcome.document(view))
    elif not jsonl and not quiet:
        outcome.tell(view, live=display.live)
    elif quiet and view.ended is not None and isinstance(view.ended.data, Rejected):
        outcome.rejection(view.ended.data)
    return code
