"""What an approval is of: the plan as it was accepted, shown before it is approved."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from console import options, terminal
from console.exits import Exit, Failure
from console.text import count, people, plain

if TYPE_CHECKING:
    from runtime.settings import CommonSettings
    from streams.payloads import Accepted, ApprovalRequested

#: How long the event log may take to be read up to the request for approval, in seconds.
READ_SECONDS = 20.0


def hash_of_what_is_shown(settings: CommonSettings, ident: str, *, quiet: bool) -> str:
    """Show the plan of an execution that waits for approval; its hash, for the approval to name.

    On a terminal the user is asked. Raises Failure where nothing waits there.
    """
    plan, request = _read(settings, ident)
    if not quiet:
        _show(plan, request)
    if not quiet and sys.stdin.isatty() and sys.stderr.isatty():
        import typer

        if not typer.confirm("Approve this?", err=True):
            raise Failure("not approved; it waits on", Exit.CANCELLED, f"runstream reject {ident}")
    return request.plan_hash


def _read(settings: CommonSettings, ident: str) -> tuple[Accepted, ApprovalRequested]:
    from console.eventlog import EventLog
    from console.follow import not_found, parse
    from runtime.clock import monotonic
    from streams.ids import route_of
    from streams.payloads import Accepted, ApprovalRequested

    until = monotonic() + READ_SECONDS
    accepted: Accepted | None = None
    with EventLog(settings, route_of(ident), since_ms=options.started_ms(ident)) as log:
        while monotonic() < until:
            value = log.next(0.2)
            if value is None:
                if log.caught_up:
                    break
                continue
            event = parse(value) if ident.encode() in value else None
            if event is None or event.execution_id != ident:
                continue
            if isinstance(event.data, Accepted):
                accepted = event.data
            elif isinstance(event.data, ApprovalRequested) and accepted is not None:
                return accepted, event.data
    if accepted is None:
        raise not_found(ident)
    raise Failure(f"{ident} needs no approval", Exit.REJECTED, f"runstream show {ident}")


def _show(plan: Accepted, request: ApprovalRequested) -> None:
    from console.explanation import parameters

    steps = count(len(plan.plan.steps), "step")
    terminal.say(
        f"{plain(plan.name or 'plan')}: {steps} in {plan.environment}, asked for by {plan.actor}; "
        f"needs {people(request.level)} until {request.expires_at}",
        "bold",
    )
    parameters(plan.plan)
    terminal.say(f"plan hash {request.plan_hash}", "dim")
