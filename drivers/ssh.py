"""Programs on another machine, over SSH: same argv, same output, ended there on cancel."""

from __future__ import annotations

import asyncio
import signal
from typing import Any, Final

import asyncssh

from drivers import remote, sshlink
from drivers.capture import MISSING, READ_BYTES, Capture, conclude
from drivers.cleanup import see_through
from drivers.connections import Connection
from drivers.context import Failure, Outcome, RunContext
from drivers.errors import fail
from drivers.local import mark_of
from toolmeta.invocation import Invocation

GRACE_SECONDS: Final = 5.0
#: Beyond the grace: for a new connection, and for the search.
_CONFIRM_SECONDS: Final = 10.0


async def run(invocation: Invocation, context: RunContext, where: Connection) -> Outcome:
    """Run the program at `where`; on cancel end it there and say so in the evidence."""
    mark = mark_of(context)
    try:
        header = remote.environment_header(mark, invocation.env)
    except ValueError as error:
        return fail(invocation, "invalid_parameters", str(error))
    connection = await sshlink.connect(invocation, context, where)
    if isinstance(connection, Failure):
        return connection
    try:
        return await _attend(connection, header, invocation, context, where.name)
    except BaseException:
        evidence = await _end(connection, invocation, context, where, mark)
        context.evidence.update(evidence)
        raise
    finally:
        await see_through(sshlink.close(connection), _CONFIRM_SECONDS)


async def _attend(
    connection: asyncssh.SSHClientConnection,
    header: bytes,
    invocation: Invocation,
    context: RunContext,
    host: str,
) -> Outcome:
    capture = Capture(context, merged=invocation.parse_stderr)
    try:
        process: asyncssh.SSHClientProcess[bytes] = await connection.create_process(
            remote.start_line(invocation.argv), encoding=None, window=8 * READ_BYTES
        )
    except (asyncssh.Error, OSError):
        message = f"{host} refuses to start a program over this connection"
        return fail(invocation, "login_refused", message)
    try:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(_feed(process, header, invocation.stdin))
            tasks.create_task(capture.drain("stdout", process.stdout))
            tasks.create_task(capture.drain("stderr", process.stderr))
        await process.wait_closed()
    except BaseExceptionGroup as group:
        if group.split((asyncssh.Error, OSError))[1] is not None:
            raise
        return fail(invocation, "connection_lost", f"the connection to {host} broke")
    exit_code = _code(process)
    if exit_code is None:
        return fail(invocation, "connection_lost", f"the connection to {host} broke")
    if exit_code == MISSING and capture.last_error == remote.NO_PROGRAM:
        message = f"the program {invocation.argv[0]} is not installed on {host}"
        return fail(invocation, "program_missing", message)
    return await conclude(invocation, capture, exit_code)


async def _feed(process: asyncssh.SSHClientProcess[bytes], header: bytes, text: str | None) -> None:
    try:
        process.stdin.write(header + (text or "").encode())
        await process.stdin.drain()
        process.stdin.write_eof()
    except (BrokenPipeError, ConnectionResetError):
        return  # it did not want to read everything; its exit code tells whether that is bad


def _code(process: asyncssh.SSHClientProcess[bytes]) -> int | None:
    """The exit code, negative for a signal; None where the host did not say."""
    if process.exit_signal is not None:
        number = getattr(signal, f"SIG{process.exit_signal[0]}", None)
        return -int(number) if number is not None else -1
    return process.exit_status


async def _end(
    connection: asyncssh.SSHClientConnection,
    invocation: Invocation,
    context: RunContext,
    where: Connection,
    mark: str,
) -> dict[str, Any]:
    limit = GRACE_SECONDS + _CONFIRM_SECONDS
    try:
        return await see_through(_end_remote(connection, invocation, context, where, mark), limit)
    except TimeoutError:
        return {"cancel_unconfirmed": f"{where.name} did not answer within {limit:g} s"}


async def _end_remote(
    connection: asyncssh.SSHClientConnection,
    invocation: Invocation,
    context: RunContext,
    where: Connection,
    mark: str,
) -> dict[str, Any]:
    """End it over this connection, or over a new one where this one is broken."""
    line = remote.end_line(mark, GRACE_SECONDS)
    host = where.name
    try:
        return _evidence(host, await _ask(connection, line))
    except (asyncssh.Error, OSError):
        again = await sshlink.connect(invocation, context, where)
    if isinstance(again, Failure):
        return {"cancel_unconfirmed": again.message}
    try:
        return _evidence(host, await _ask(again, line))
    except (asyncssh.Error, OSError):
        return {"cancel_unconfirmed": f"the connection to {host} broke"}
    finally:
        await sshlink.close(again)


async def _ask(connection: asyncssh.SSHClientConnection, line: str) -> remote.Ended:
    done = await connection.run(line, stdin=asyncssh.DEVNULL, encoding="utf-8", errors="replace")
    return remote.read_answer(str(done.stdout or ""))


def _evidence(host: str, answer: remote.Ended) -> dict[str, Any]:
    evidence: dict[str, Any] = {"host": host, "pids_ended": list(answer.ended)}
    if not answer.supported:
        evidence["cancel_unconfirmed"] = f"{host} has no /proc to look into"
    elif not answer.complete:
        evidence["cancel_unconfirmed"] = f"{host} did not say what is left"
    elif answer.left:
        left = ", ".join(str(pid) for pid in answer.left)
        evidence["pids_ended"] = [pid for pid in answer.ended if pid not in answer.left]
        evidence["cancel_unconfirmed"] = f"still running on {host}: {left}"
    return evidence
