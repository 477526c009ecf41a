"""`runstream run` and `runstream submit`: submitting a plan."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from console import terminal
from console.exits import Exit
from console.given_inputs import InputsFile, ProcedureName, ProcedureVersion, SetInput
from console.options import Actor, Json, JsonLines, NoWait, OptionalPlan, Quiet, Timeout, login

if TYPE_CHECKING:
    from authority.keys import PrivateKey
    from console.eventlog import EventLog
    from console.request import Prepared
    from runtime.settings import CommonSettings
    from streams.payloads import Duplicate, Rejected

Tenant = Annotated[
    str | None, typer.Option("--tenant", metavar="NAME", help="Whose plan; `default` if not given.")
]
Key = Annotated[
    str | None,
    typer.Option(
        "--key",
        metavar="KEY",
        help="Idempotency key: the same key runs once. A new one each time if not given.",
    ),
]
EnvironmentName = Annotated[
    str | None, typer.Option("--environment", metavar="dev|staging|prod", help="Where it acts.")
]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(run)
    app.command()(submit)


def run(
    plan: OptionalPlan = None,
    procedure: ProcedureName = None,
    version: ProcedureVersion = None,
    given: SetInput = None,
    inputs: InputsFile = None,
    tenant: Tenant = None,
    actor: Actor = None,
    key: Key = None,
    environment: EnvironmentName = None,
    timeout: Timeout = 86_400.0,
    as_json: Json = False,
    jsonl: JsonLines = False,
    quiet: Quiet = False,
) -> None:
    """Submit a plan, or a procedure, and watch it to its end.

    Exit codes: 0 completed, 1 failed or partial, 2 usage, 3 rejected, 4 cancelled, 5 timed out,
    6 no broker. Ctrl-C ends the watching only.
    """
    wanted = _Wanted(plan, procedure, version, given or [], inputs)
    prepared, signs = _prepare(wanted, tenant, actor, key, environment)
    raise typer.Exit(_run(prepared, signs, timeout, as_json, jsonl, quiet))


def submit(
    plan: OptionalPlan = None,
    procedure: ProcedureName = None,
    version: ProcedureVersion = None,
    given: SetInput = None,
    inputs: InputsFile = None,
    tenant: Tenant = None,
    actor: Actor = None,
    key: Key = None,
    environment: EnvironmentName = None,
    follow: Annotated[bool, typer.Option("--follow", help="Watch it, as `run` does.")] = False,
    timeout: Timeout = 86_400.0,
    no_wait: NoWait = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Submit a plan, or a procedure, and print its execution id once the router has admitted it."""
    wanted = _Wanted(plan, procedure, version, given or [], inputs)
    prepared, signs = _prepare(wanted, tenant, actor, key, environment)
    if follow:
        raise typer.Exit(_run(prepared, signs, timeout, as_json, False, quiet))
    raise typer.Exit(_submit(prepared, signs, no_wait, as_json, quiet))


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is to run: the options that say it."""

    plan: Path | None
    procedure: str | None
    version: str | None
    given: list[str]
    inputs: Path | None


def _prepare(
    wanted: _Wanted, tenant: str | None, actor: str | None, key: str | None, environment: str | None
) -> tuple[Prepared, PrivateKey | None]:
    """The request, and the key that signs it."""
    from console import endpoints, given_inputs, signing
    from console.request import Options, prepare
    from runtime.clock import now
    from runtime.settings import CommonSettings

    settings = endpoints.load(CommonSettings)
    signs = signing.private_key(settings)
    document = given_inputs.request_of(
        wanted.plan, wanted.procedure, wanted.version, wanted.given, wanted.inputs,
        settings, signing.tenant_of(signs, tenant),
    )  # fmt: skip
    prepared = prepare(
        document,
        Options(tenant, actor, key, environment),
        login=login(),
        unix_ms=int(now() * 1000),
        random_bits=secrets.randbits(86),
        key=signs,
    )
    return prepared, signs


def produce(settings: CommonSettings, prepared: Prepared, signs: PrivateKey | None) -> None:
    """Put the request on its topic; the broker has it when this returns."""
    from console import broker
    from runtime.clock import iso, now
    from streams.envelope import headers
    from streams.topics import REQUESTS

    head = headers(
        ident=prepared.execution_id,
        kind="execution.request",
        source="cli",
        time=iso(now()),
        subject=prepared.execution_id,
    )
    broker.send(
        settings, REQUESTS, key=prepared.route, value=prepared.body, headers=head, sign_with=signs
    )


def _submit(
    prepared: Prepared, signs: PrivateKey | None, no_wait: bool, as_json: bool, quiet: bool
) -> Exit:
    from console import endpoints, outcome
    from console.follow import FIRST_EVENT_SECONDS, NO_RESPONSE, response
    from runtime.settings import CommonSettings
    from streams.payloads import Duplicate, Rejected

    settings = endpoints.load(CommonSettings)
    if no_wait:
        produce(settings, prepared, signs)
        _print(prepared, prepared.execution_id, "submitted", as_json)
        return Exit.OK
    with _log(settings, prepared) as log:
        produce(settings, prepared, signs)
        event = response(log, prepared, FIRST_EVENT_SECONDS)
    if event is None:
        if not quiet:
            terminal.say(NO_RESPONSE, "yellow")
        _print(prepared, prepared.execution_id, "submitted", as_json)
        return Exit.OK
    if isinstance(event.data, Rejected):
        outcome.rejection(event.data)
        _print(prepared, event.execution_id, "rejected", as_json, event.data)
        return Exit.REJECTED
    if isinstance(event.data, Duplicate):
        if not quiet:
            _say_duplicate(event.execution_id, event.data)
        _print(prepared, event.execution_id, "duplicate", as_json)
        return Exit.OK
    _print(prepared, prepared.execution_id, "accepted", as_json)
    return Exit.OK


def _run(
    prepared: Prepared,
    signs: PrivateKey | None,
    timeout: float,
    as_json: bool,
    jsonl: bool,
    quiet: bool,
) -> Exit:
    from console import endpoints
    from console.follow import FIRST_EVENT_SECONDS, NO_RESPONSE, detachable, response, unfinished
    from console.watching import watch_execution
    from runtime.clock import monotonic
    from runtime.settings import CommonSettings
    from streams.payloads import Duplicate

    settings = endpoints.load(CommonSettings)
    until = monotonic() + timeout
    with _log(settings, prepared) as log, detachable(prepared.execution_id):
        produce(settings, prepared, signs)
        event = response(log, prepared, min(timeout, FIRST_EVENT_SECONDS))
        if event is None and timeout > FIRST_EVENT_SECONDS:
            if not quiet:
                terminal.say(NO_RESPONSE, "yellow")
            event = response(log, prepared, until - monotonic())
        if event is None:
            raise unfinished(prepared.execution_id, "submitted", timeout)
        duplicate = isinstance(event.data, Duplicate)
        if isinstance(event.data, Duplicate) and not quiet:
            _say_duplicate(event.execution_id, event.data)
        # The earlier events of a repeated execution are before the offset where this log began.
        return watch_execution(
            settings,
            event.execution_id,
            log=None if duplicate else log,
            first=None if duplicate else event,
            timeout=max(until - monotonic(), 1.0),
            as_json=as_json,
            jsonl=jsonl,
            quiet=quiet or as_json,
        )


def _log(settings: CommonSettings, prepared: Prepared) -> EventLog:
    from console.eventlog import EventLog

    return EventLog(settings, prepared.route)


def _say_duplicate(first: str, data: Duplicate) -> None:
    terminal.say(
        f"this plan was submitted before with the key {data.idempotency_key!r}; nothing runs "
        f"twice, the first execution is {first}",
        "yellow",
    )


def _print(
    prepared: Prepared, ident: str, answer: str, as_json: bool, rejected: Rejected | None = None
) -> None:
    if as_json:
        document: dict[str, Any] = {
            "execution_id": ident,
            "answer": answer,
            "tenant": prepared.tenant,
            "idempotency_key": prepared.idempotency_key,
            "route_key": prepared.route,
        }
        if rejected is not None:
            document["reason"], document["message"] = rejected.reason, rejected.message
            document["problems"] = [
                {"field": item.field, "message": item.message} for item in rejected.problems
            ]
        terminal.data(document)
    else:
        terminal.tell(ident)
