"""What an approval is of: the plan as it was accepted, shown before it is approved."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, Final

from console import options, terminal
from console.exits import Exit, Failure
from reading.text import count, json_text, people, plain

if TYPE_CHECKING:
    from processors.router.calls import AdmittedCall
    from runtime.settings import CommonSettings
    from streams.admitted import AdmittedStep
    from streams.control_payloads import ApprovalRequested
    from streams.payloads import Accepted

#: Characters of one value that are shown.
_SHOWN: Final = 8_000
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
    from streams.control_payloads import ApprovalRequested
    from streams.ids import route_of
    from streams.payloads import Accepted

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
    from processors.router.calls import admitted

    steps = count(plan.plan.size, "step")
    terminal.say(
        f"{plain(plan.name or 'plan')}: {steps} in {plan.environment}, asked for by {plan.actor}; "
        f"needs {people(request.level)} until {request.expires_at}",
        "bold",
    )
    for call in admitted(plan.plan):
        _show_call(call)
    terminal.say(f"plan hash {request.plan_hash}", "dim")


def _show_call(call: AdmittedCall) -> None:
    """What one call does, when and on what; what is written apart from what the run will fill."""
    from rich.text import Text

    from runtime.cel.expressions import has_references

    err, spec = terminal.err(), call.spec
    err.print(Text().append(plain(spec.id or call.field), "bold").append(f"  {spec.tool}"))
    for said, value in (
        ("only if", spec.when),
        ("for each of", call.for_each),
        ("assets", None if spec.assets is None else ", ".join(spec.assets)),
        ("secrets", spec.secrets),
        ("become", spec.become),
        ("connection", spec.connection),
        ("definition", spec.definition),
        ("script sha256", _script_of(spec)),
    ):
        if value is not None:
            err.print(Text(f"    {said}: {_whole(value)}"), soft_wrap=True)
    for name, value in spec.parameters.items():
        filled = has_references(value)
        kind = "filled during the run" if filled else "literal"
        text = f"    {kind}: {plain(name)} = {_whole(value)}"
        err.print(Text(text, "yellow" if filled else ""), soft_wrap=True)


def _script_of(spec: AdmittedStep) -> str | None:
    """The hash by which the output and the audit name the script of a plan; None where there is
    none, or only the run will fill it in."""
    from runtime.cel.expressions import has_references
    from toolmeta import registry, scripts
    from toolmeta.check import apply_defaults

    tool = registry.load().get(spec.tool)
    if tool is None or (tool.run.driver, tool.run.call) != (scripts.DRIVER, scripts.INLINE):
        return None
    given = apply_defaults(tool, spec.parameters)
    text, interpreter = given.get("script"), given.get("interpreter")
    if not isinstance(text, str) or not isinstance(interpreter, str):
        return None
    filled = has_references(text) or has_references(interpreter)
    return None if filled else scripts.digest(interpreter, text)


def _whole(value: Any) -> str:
    """All of a value, since all of it is approved; where it is cut, how much is left out."""
    text = plain(value) if isinstance(value, str) else json_text(value)
    shown = text[:_SHOWN].replace("\n", "\n        ")
    left = len(text) - _SHOWN
    return shown if left <= 0 else f"{shown}… ({left} characters more, in execution.accepted)"
