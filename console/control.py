"""`cancel`, `approve`, `reject`, `pause`, `resume`, `rerun`, `resolve`: control commands."""

from __future__ import annotations

import json
import secrets
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import options, terminal
from console.exits import Exit, Failure
from console.options import Actor, ExecutionId, Json, JsonLines, NoWait, Quiet, Reason, Timeout

if TYPE_CHECKING:
    from authority.keys import PrivateKey
    from runtime.settings import CommonSettings
    from streams.answers import Verdict
    from streams.commands import AnyCommand

#: How long a command waits for the event that is its response, in seconds.
RESPONSE_SECONDS = 10.0


class Outcome(StrEnum):
    """What an operator found out about a step whose attempt was lost."""

    succeeded = "succeeded"
    failed = "failed"
    retry = "retry"


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    for command in (cancel, approve, reject, pause, resume, rerun, resolve):
        app.command()(command)


def cancel(
    execution_id: ExecutionId,
    reason: Reason = None,
    actor: Actor = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """End an execution: nothing new starts, and what runs is stopped."""
    _send_and_report("cancel", execution_id, actor, no_wait, as_json, reason=reason)


def approve(
    execution_id: ExecutionId,
    plan_hash: Annotated[
        str | None,
        typer.Option(
            "--plan-hash",
            metavar="HASH",
            help="Of the plan that you have read; not given: it is shown now.",
        ),
    ] = None,
    reason: Reason = None,
    actor: Actor = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Approve an execution that waits for it; never by one who asked for it.

    An approval names the hash of the plan, so that what runs is what was read.
    """
    from console import approving, endpoints
    from runtime.settings import CommonSettings

    if plan_hash is None:
        ident = options.execution_id(execution_id)
        settings = endpoints.load(CommonSettings)
        plan_hash = approving.hash_of_what_is_shown(settings, ident, quiet=as_json)
    _send_and_report(
        "approve", execution_id, actor, no_wait, as_json, reason=reason, plan_hash=plan_hash
    )


def reject(
    execution_id: ExecutionId,
    reason: Reason = None,
    actor: Actor = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Refuse an execution that waits for approval."""
    _send_and_report("reject", execution_id, actor, no_wait, as_json, reason=reason)


def pause(
    execution_id: ExecutionId,
    reason: Reason = None,
    actor: Actor = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Start no further step; what runs goes on to its end."""
    _send_and_report("pause", execution_id, actor, no_wait, as_json, reason=reason)


def resume(
    execution_id: ExecutionId,
    reason: Reason = None,
    actor: Actor = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Go on after a pause."""
    _send_and_report("resume", execution_id, actor, no_wait, as_json, reason=reason)


def rerun(
    execution_id: ExecutionId,
    from_step: Annotated[
        str | None,
        typer.Option("--from-step", metavar="STEP", help="Repeat this step and what follows it."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch the new execution.")] = False,
    timeout: Timeout = 86_400.0,
    reason: Reason = None,
    actor: Actor = None,
    no_wait: NoWait = False,
    as_json: Json = False,
    jsonl: JsonLines = False,
    quiet: Quiet = False,
) -> None:
    """Run what did not succeed again, as a new execution that keeps the earlier outputs."""
    from runtime.clock import now
    from streams.ids import mint_execution_id, route_of

    # Both executions must be in the same partition, so they have the same route key.
    route = route_of(options.execution_id(execution_id))
    fresh = mint_execution_id(route, int(now() * 1000), secrets.randbits(42))
    found = _send_and_report(
        "rerun", execution_id, actor, no_wait, as_json and not follow,
        reason=reason, from_step=from_step, new_execution_id=fresh,
    )  # fmt: skip
    if follow and found is not None:
        from console import endpoints
        from console.watching import watch_execution
        from runtime.settings import CommonSettings

        code = watch_execution(
            endpoints.load(CommonSettings), found.event.execution_id, timeout=timeout,
            as_json=as_json, jsonl=jsonl, quiet=quiet or as_json,
        )  # fmt: skip
        raise typer.Exit(code)


def resolve(
    execution_id: ExecutionId,
    step: Annotated[str, typer.Argument(metavar="STEP", help="The step that needs attention.")],
    outcome: Annotated[Outcome, typer.Argument(help="What became of it.")],
    output: Annotated[
        str | None,
        typer.Option("--output", metavar="JSON", help="Its output, for later steps to use."),
    ] = None,
    reason: Reason = None,
    actor: Actor = None,
    no_wait: NoWait = False,
    as_json: Json = False,
) -> None:
    """Say how a step ended whose outcome is unknown."""
    _send_and_report(
        "resolve", execution_id, actor, no_wait, as_json,
        reason=reason, step=step, outcome=outcome.value, output=_object(output),
    )  # fmt: skip


def _object(text: str | None) -> dict[str, Any] | None:
    if text is None:
        return None
    try:
        found = json.loads(text)
    except ValueError as error:
        raise Failure(f"--output is not JSON: {error}", Exit.USAGE) from None
    if not isinstance(found, dict):
        raise Failure("--output must be a JSON object", Exit.USAGE)
    return found


def _send_and_report(
    kind: str,
    execution_id: str,
    actor: str | None,
    no_wait: bool,
    as_json: bool,
    **fields: Any,
) -> Verdict | None:
    """Send one command and wait for the response by default; raises Failure where refused."""
    from pydantic import ValidationError

    from console import endpoints, signing
    from runtime.settings import CommonSettings
    from streams.commands import CONTROL_COMMAND

    settings = endpoints.load(CommonSettings)
    key = signing.private_key(settings)
    who = signing.actor_of(key, actor, options.login())
    ident = options.execution_id(execution_id)
    chosen = {name: value for name, value in fields.items() if value is not None}
    given = {"type": kind, "execution_id": ident, "actor": who, **chosen}
    try:
        command = CONTROL_COMMAND.validate_python(given)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"][1:])
        raise Failure(f"{where}: {first['msg']}", Exit.USAGE) from None
    if no_wait:
        _produce(settings, command, key)
        if as_json:
            terminal.data({"execution_id": ident, "command": kind, "answer": None})
        return None
    found = _await_verdict(settings, command, key)
    if as_json:
        from reading.sentences import document

        terminal.data(
            {
                "execution_id": ident,
                "command": kind,
                "allowed": found.allowed,
                "message": found.message,
                "event": document(found.event),
            }
        )
    if not found.allowed:
        raise Failure(f"{kind} refused: {found.message}", Exit.REJECTED, f"runstream show {ident}")
    if not as_json:
        from reading.sentences import sentence

        terminal.say(found.message or sentence(found.event), "green")
    return found


def _await_verdict(
    settings: CommonSettings, command: AnyCommand, key: PrivateKey | None
) -> Verdict:
    from console.eventlog import EventLog
    from console.follow import parse
    from runtime.clock import monotonic
    from streams.answers import verdict
    from streams.ids import route_of

    ident = command.execution_id
    with EventLog(settings, route_of(ident)) as log:
        _produce(settings, command, key)
        until = monotonic() + RESPONSE_SECONDS
        while (left := until - monotonic()) > 0:
            value = log.next(min(left, 0.2))
            event = parse(value) if value is not None else None
            found = verdict(command, event) if event is not None else None
            if found is not None:
                return found
    raise Failure(
        f"no answer to {command.type} within {RESPONSE_SECONDS:.0f} s; the command is on its "
        "topic, and a router that knows the execution will obey it",
        Exit.TIMED_OUT,
        f"is a router running (runstream status), and is the id right (runstream watch {ident})?",
    )


def _produce(settings: CommonSettings, command: AnyCommand, key: PrivateKey | None) -> None:
    from console import broker
    from runtime.clock import iso, now
    from streams.envelope import headers
    from streams.ids import route_of
    from streams.topics import CONTROL

    ident = command.execution_id
    head = headers(
        ident=f"{ident}:{command.type}:{secrets.token_hex(8)}",
        kind=f"control.{command.type}",
        source="cli",
        time=iso(now()),
        subject=ident,
    )
    body = command.model_dump_json(exclude_unset=True).encode()
    broker.send(settings, CONTROL, key=route_of(ident), value=body, headers=head, sign_with=key)
