"""The `winrm` driver: PowerShell on a Windows host, with every value bound as a parameter.

Arguments: see `powershell.pipeline` and `powershell.step_output`; besides them `connection` with
`user`, `password`, `port`, `auth` and `tls` of the step, before those of the asset. pypsrp blocks,
so each step has a thread of its own; at most 64 run at once, further ones wait.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any, Final, Literal, cast

from drivers.cleanup import run_uncancelled
from drivers.connections import Connection
from drivers.contacts import refused_elsewhere
from drivers.context import Failure, Outcome, RunContext, Success
from drivers.errors import fail, secret_failure
from drivers.secret_use import SecretError
from drivers.step_connection import connection_of_step, revealed
from toolmeta.invocation import Invocation

HTTPS_PORT: Final = 5986
HTTP_PORT: Final = 5985
#: For the host to confirm a stop; a thread that waits for an unreachable host ends a little later.
STOP_SECONDS: Final = 20.0
_WAIT_SECONDS: Final = 0.5
#: Parameters of cmdlets and scripts that name whom the host is to contact.
_PEERS: Final = ("Uri", "ComputerName", "Server")
_AUTH: Final = ("negotiate", "ntlm", "kerberos", "basic")


class WinrmDriver:
    """Runs one pipeline; nothing is repeated."""

    async def run(self, invocation: Invocation, context: RunContext) -> Outcome:
        """Run it to its end; on cancel the pipeline is stopped and the host confirms it."""
        context.not_acting()
        if invocation.host is None and not context.command.assets:
            message = "name the Windows host: host, or an asset of the inventory"
            return fail(invocation, "invalid_parameters", message)
        refused = refused_elsewhere(invocation, _named(invocation.arguments))
        if refused is not None:
            return refused
        where = await connection_of_step(invocation, context)
        if isinstance(where, Failure):
            return where
        if where.known and where.kind == "ssh":
            message = (
                f"{where.name} is reached over SSH, and this executor speaks PowerShell only over "
                "WinRM: set the type powershell in the asset's connection if it listens there"
            )
            return fail(invocation, "invalid_parameters", message)
        # Imported here, since it takes some 200 ms that executors without Windows hosts save.
        from drivers.powershell import pipeline

        try:
            target = await _target(invocation, context, where)
            commands = pipeline.commands_of(invocation.arguments)
        except SecretError as error:
            return secret_failure(invocation, error, where.name)
        except ValueError as error:
            return fail(invocation, "invalid_parameters", f"{where.name}: {error}")
        if target.password is None and target.auth != "kerberos":
            message = f"there is no password for {where.name}: give a secret reference"
            return fail(invocation, "not_configured", message)
        return await _run_session(invocation, context, target, commands)


def _named(arguments: dict[str, Any]) -> Iterator[str]:
    """The hosts and URLs that a cmdlet is to contact from there."""
    parameters = arguments.get("parameters") or {}
    for name in _PEERS:
        value = parameters.get(name)
        for one in value if isinstance(value, list) else [value]:
            if isinstance(one, str):
                yield one


async def _target(invocation: Invocation, context: RunContext, where: Connection) -> Any:
    from drivers.powershell.connection import Target

    own = invocation.arguments.get("connection") or {}
    password = own.get("password")
    if password is None:
        stated = where.login.get("password")
        password = await revealed(context, stated, "login", where)
    else:
        # Also a password that is plain text in the plan: the output does not repeat it.
        context.masker.add(str(password))
    tls = own.get("tls", where.login.get("tls", True))
    auth = own.get("auth", where.login.get("auth", "negotiate"))
    if not isinstance(tls, bool) or auth not in _AUTH:
        raise ValueError("tls is true or false, and auth one of " + ", ".join(_AUTH))
    if auth == "basic" and not tls:
        raise ValueError("Basic without TLS would show the password to the network")
    port = own.get("port") or where.port or (HTTPS_PORT if tls else HTTP_PORT)
    return Target(
        where.name,
        where.address,
        int(port),
        tls,
        cast(Any, auth),
        own.get("user") or where.user,
        password,
        context.resources.settings.winrm_ca_file,
    )


async def _run_session(
    invocation: Invocation, context: RunContext, target: Any, commands: Any
) -> Outcome:
    from drivers.powershell import failures, step_output
    from drivers.powershell.session import Session

    loop = asyncio.get_running_loop()

    def emit(stream: Literal["stdout", "stderr"], data: bytes) -> None:
        writing = asyncio.run_coroutine_threadsafe(context.output.write(stream, data), loop)
        while not session.stopping:
            try:
                return writing.result(_WAIT_SECONDS)
            except TimeoutError:
                continue
        writing.cancel()

    def progress(percent: float | None, note: str | None) -> None:
        loop.call_soon_threadsafe(context.report_progress, percent, note)

    session = Session(target, commands, emit, progress)
    slots = context.resources.winrm_threads
    await slots.acquire()
    try:
        context.acting()
    except asyncio.CancelledError:
        slots.release()
        raise
    ended: asyncio.Future[Any] = loop.create_future()
    ended.add_done_callback(lambda _: slots.release())
    threading.Thread(target=_work, args=(session, loop, ended), name="winrm", daemon=True).start()
    try:
        await asyncio.wait((ended,))
    except asyncio.CancelledError:
        evidence = await _stop(session, ended, target.name)
        if not ended.done() or isinstance(ended.result(), Exception):
            context.evidence.update(evidence)
            context.stop.ended = "cancel_unconfirmed" not in evidence
            if not session.began:
                context.stop.effect = "none"
            raise
    found = ended.result()
    if isinstance(found, Exception):
        return failures.connection_failure(invocation, target, found, began=session.began)
    collected = step_output.without_ignored(invocation.arguments, found)
    output = step_output.output_of(invocation.arguments, collected)
    if collected.failed or collected.errors:
        return failures.pipeline_failure(invocation, target.name, collected, output)
    if output.get("exit_code") and invocation.arguments.get("shape") == "program":
        message = f"{target.name}: the program ended with exit code {output['exit_code']}"
        said = str(output.get("text", "")).strip().splitlines()
        return fail(invocation, "exit_status", ": ".join((message, *said[-1:])), output)
    return Success(output)


def _work(session: Any, loop: asyncio.AbstractEventLoop, ended: asyncio.Future[Any]) -> None:
    """In the thread: run the session and hand its result or exception to the loop."""
    try:
        found = session.run()
    except Exception as error:
        found = error
    try:
        loop.call_soon_threadsafe(_end, ended, found)
    except RuntimeError:
        return  # The loop is closed: nothing waits for the result.


def _end(ended: asyncio.Future[Any], found: Any) -> None:
    if not ended.done():
        ended.set_result(found)


async def _stop(session: Any, ended: asyncio.Future[Any], host: str) -> dict[str, Any]:
    """Stop the pipeline; what is known of it then."""
    session.stop()
    try:
        await run_uncancelled(_settled(ended), STOP_SECONDS)
    except TimeoutError:
        evidence = {"host": host, **session.evidence}
        if session.began:
            evidence["cancel_unconfirmed"] = f"{host} did not answer within {STOP_SECONDS:g} s"
        return evidence
    evidence = {"host": host, **session.evidence}
    found = ended.result()
    if str(evidence.get("pipeline", "")).endswith("before it was stopped"):
        evidence["cancel_unconfirmed"] = "it had ended by itself, and its output was not read"
    elif "pipeline" not in evidence and "cancel_unconfirmed" not in evidence:
        if isinstance(found, Exception):
            kind = type(found).__name__
            evidence["cancel_unconfirmed"] = f"the connection to {host} was lost ({kind})"
        else:
            evidence["pipeline"] = "completed before it was stopped"
    return evidence


async def _settled(ended: asyncio.Future[Any]) -> None:
    await asyncio.wait((ended,))
